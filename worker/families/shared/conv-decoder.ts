import { pixelAttention } from "../../../kernels/attention/pixel-attention.ts";
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { conv3x3 } from "../../../kernels/image/conv.ts";
import type { ImageShape } from "../../../kernels/image/images.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { groupNormScratch, groupNormSilu } from "../../../kernels/norm/group-norm.ts";
import { packRgb } from "../../../kernels/tokens/gather.ts";
import type { CodeShape } from "../family.ts";
import { type DecoderSource, decoderFloats, groupsOf, mostGroups, pixelsPerCell } from "./vae.ts";
import type { Weights } from "./weights.ts";

/** Pictures of one call at most. */
export const MAX_PICTURES = 64;

/** What the decoder computes on its way, for those who tap it: [pixels, stride] of all images, the channels first. */
export type DecoderTap = (name: string, x: Tensor, channels: number, stride: number) => void;

/**
 * The decoder of a convolutional tokenizer: conv_in, two residual blocks, then levels from coarse to fine with nearest
 * x2 between them. Takes several latents of any height and width at once; workspace is made for `cells` tokens in all.
 */
export class ConvDecoder {
	#weights: Weights;
	#source: DecoderSource;
	#latent: Pick<CodeShape, "numbers" | "channels">;
	/** Pixels per side of a latent's cell. */
	readonly patch: number;
	#work: Tensor[];
	#scratch: Tensor;
	/** Of attention: scores of every pixel of the coarsest level with every other. */
	#scores: Tensor;
	/** [pixels, 4]: the decoder's output in [-1, 1] before clamping, channels r, g, b, 0. */
	readonly output: Tensor;
	/** u32 [pixels], RGBA. */
	readonly rgba: Tensor;
	#owned: Scope;

	constructor(
		gpu: Gpu,
		weights: Weights,
		source: DecoderSource,
		latent: Pick<CodeShape, "numbers" | "channels">,
		cells: number,
	) {
		using scope = new Scope(gpu);
		const { work, scores, pixels } = decoderFloats(source, latent.channels, cells);
		this.#weights = weights;
		this.#source = source;
		this.#latent = latent;
		this.patch = pixelsPerCell(source.config);
		this.#work = [0, 1, 2].map((i) => scope.tensor(`decoder work ${i}`, [work]));
		this.#scratch = scope.tensor("decoder statistics", [groupNormScratch(MAX_PICTURES, mostGroups(source.config))]);
		this.#scores = scope.tensor("decoder scores", [scores]);
		this.output = scope.tensor("decoder output", [pixels, 4]);
		this.rgba = scope.tensor("decoder rgba", [pixels]);
		this.#owned = scope.move();
	}

	/** latents: [cells, latentChannels], cut into `grids` -> `output` and `rgba`, every side `patch` times as long. */
	record(pass: Pass, latents: Tensor, grids: readonly ImageShape[], tap: DecoderTap = () => {}): void {
		const { config, attentive } = this.#source;
		const { baseChannels, multipliers, residualBlocks, latentKernel = 3, normEps } = config;
		const { numbers, channels: latentChannels } = this.#latent;
		const weights = this.#weights;
		let images = grids;
		let channels = baseChannels * multipliers[multipliers.length - 1];
		let [x, a, b] = this.#work;

		const conv = (
			name: string,
			from: Tensor,
			to: Tensor,
			inChannels: number,
			outChannels: number,
			more: { upsample?: boolean; add?: boolean } = {},
		) =>
			conv3x3(pass, {
				x: from,
				y: to,
				...weights.linear(this.#source.conv(name)),
				images,
				inChannels,
				outChannels,
				...more,
				label: name,
			});
		const dense = (name: string, from: Tensor, to: Tensor, k: number, n: number, add = false) =>
			matmul(pass, {
				x: from,
				y: to,
				...weights.linear(this.#source.conv(name)),
				m: pixelsOf(images),
				k,
				n,
				add,
				label: name,
			});
		const norm = (name: string, from: Tensor, to: Tensor, size: number, plain = false) =>
			groupNormSilu(pass, {
				x: from,
				y: to,
				...weights.linear(this.#source.norm(name)),
				scratch: this.#scratch,
				images,
				channels: size,
				groups: groupsOf(config, size),
				eps: normEps,
				plain,
				label: name,
			});
		const residual = (name: string, out: number) => {
			norm(`${name}.norm1`, x, a, channels);
			conv(`${name}.conv1`, a, b, channels, out);
			norm(`${name}.norm2`, b, a, out);
			if (out !== channels) {
				dense(`${name}.nin_shortcut`, x, b, channels, out);
				[x, b] = [b, x];
			}
			conv(`${name}.conv2`, a, x, out, out, { add: true });
			channels = out;
		};

		const attend = (name: string) => {
			if (!attentive) return;
			norm(`${name}.norm`, x, a, channels, true);
			dense(`${name}.qkv`, a, b, channels, 3 * channels);
			pixelAttention(pass, { qkv: b, y: a, scores: this.#scores, images, channels, label: name });
			dense(`${name}.proj_out`, a, x, channels, channels, true);
		};

		if (attentive) {
			const mixed = latentKernel === 1 ? dense : conv;
			mixed("vae.post_quant_conv", latents, b, latentChannels, latentChannels);
			tap("post_quant", b, numbers, latentChannels);
		}
		conv("vae.decoder.conv_in", attentive ? b : latents, x, latentChannels, channels);
		residual("vae.decoder.mid.block_1", channels);
		tap("mid1", x, channels, channels);
		attend("vae.decoder.mid.attn_1");
		tap("mid_attn", x, channels, channels);
		residual("vae.decoder.mid.block_2", channels);
		for (let level = multipliers.length - 1; level >= 0; level--) {
			const up = `vae.decoder.up.${level}`;
			for (let block = 0; block <= residualBlocks; block++) {
				residual(`${up}.block.${block}`, baseChannels * multipliers[level]);
				if (level === multipliers.length - 1) attend(`${up}.attn.${block}`);
			}
			if (level === 0) break;
			images = images.map((image) => ({ pixel: image.pixel * 4, height: image.height * 2, width: image.width * 2 }));
			conv(`${up}.upsample.conv`, x, a, channels, channels, { upsample: true });
			[x, a] = [a, x];
		}
		norm("vae.decoder.norm_out", x, a, channels);
		conv("vae.decoder.conv_out", a, this.output, channels, 4);
		packRgb(pass, { x: this.output, y: this.rgba, pixels: pixelsOf(images), channels: 4, label: "decoder pack" });
	}

	destroy(): void {
		this.#owned[Symbol.dispose]();
	}
}

const pixelsOf = (images: readonly ImageShape[]) => images.reduce((sum, { height, width }) => sum + height * width, 0);
