import { conv3x3, type ImageShape } from "../../../kernels/conv.ts";
import { packRgb } from "../../../kernels/gather.ts";
import { groupNormScratch, groupNormSilu } from "../../../kernels/group-norm.ts";
import type { Gpu, Tensor } from "../../../kernels/gpu.ts";
import type { Pass } from "../../../kernels/pass.ts";
import { matmul } from "../../../kernels/matmul.ts";
import type { VaeConfig } from "../../../model-shards/infinity-config.ts";
import type { Weights } from "../weights.ts";

/** Pictures of one call at most. */
export const MAX_PICTURES = 64;

/**
 * The decoder of Infinity's convolutional tokenizer: conv_in, two residual blocks, then levels from coarse to fine with
 * nearest x2 between them. Takes several latents of any height and width at once; workspace is made for `cells` tokens in all.
 */
export class ConvDecoder {
	#gpu: Gpu;
	#weights: Weights;
	#config: VaeConfig;
	#latentChannels: number;
	/** Pixels per token side. */
	readonly patch: number;
	#work: Tensor[];
	#scratch: Tensor;
	/** [pixels, 4]: the decoder's output in [-1, 1] before clamping, channels r, g, b, 0. */
	readonly output: Tensor;
	/** u32 [pixels], RGBA. */
	readonly rgba: Tensor;

	constructor(gpu: Gpu, weights: Weights, config: VaeConfig, latentChannels: number, cells: number) {
		this.#gpu = gpu;
		this.#weights = weights;
		this.#config = config;
		this.#latentChannels = latentChannels;
		this.patch = 2 ** (config.multipliers.length - 1);
		// A level's tensors are as large as its pixels times its own width or the wider one it comes from.
		const widths = config.multipliers.map((m) => m * config.baseChannels);
		const floats = Math.max(...widths.map((width, level) => cells * (this.patch / 2 ** level) ** 2 * Math.max(width, widths[level + 1] ?? width)));
		this.#work = [0, 1, 2].map((i) => gpu.tensor(`decoder work ${i}`, [floats]));
		this.#scratch = gpu.tensor("decoder statistics", [groupNormScratch(MAX_PICTURES, config.normGroups)]);
		this.output = gpu.tensor("decoder output", [cells * this.patch ** 2, 4]);
		this.rgba = gpu.tensor("decoder rgba", [cells * this.patch ** 2]);
	}

	/** latents: [cells, latentChannels], cut into `grids` -> `output` and `rgba`, every side `patch` times as long. */
	record(pass: Pass, latents: Tensor, grids: readonly ImageShape[]): void {
		const { baseChannels, multipliers, residualBlocks, normGroups, normEps } = this.#config;
		const weights = this.#weights;
		let images = grids;
		let channels = baseChannels * multipliers[multipliers.length - 1];
		let [x, a, b] = this.#work;

		const conv = (name: string, from: Tensor, to: Tensor, inChannels: number, outChannels: number, more: { upsample?: boolean; add?: boolean } = {}) =>
			conv3x3(pass, { x: from, y: to, ...weights.linear(`vae.decoder.${name}.conv`), images, inChannels, outChannels, ...more, label: `decoder ${name}` });
		const norm = (name: string, from: Tensor, to: Tensor, size: number) =>
			groupNormSilu(pass, {
				x: from, y: to, ...weights.linear(`vae.decoder.${name}.norm`), scratch: this.#scratch, images, channels: size, groups: normGroups, eps: normEps,
				label: `decoder ${name}`,
			});
		const residual = (name: string, out: number) => {
			norm(`${name}.norm1`, x, a, channels);
			conv(`${name}.conv1`, a, b, channels, out);
			norm(`${name}.norm2`, b, a, out);
			if (out !== channels) {
				matmul(pass, { x, y: b, ...weights.linear(`vae.decoder.${name}.nin_shortcut.conv`), m: pixelsOf(images), k: channels, n: out, label: `decoder ${name}.nin_shortcut` });
				[x, b] = [b, x];
			}
			conv(`${name}.conv2`, a, x, out, out, { add: true });
			channels = out;
		};

		conv("conv_in", latents, x, this.#latentChannels, channels);
		residual("mid.block_1", channels);
		residual("mid.block_2", channels);
		for (let level = multipliers.length - 1; level >= 0; level--) {
			for (let block = 0; block <= residualBlocks; block++) residual(`up.${level}.block.${block}`, baseChannels * multipliers[level]);
			if (level === 0) break;
			images = images.map((image) => ({ pixel: image.pixel * 4, height: image.height * 2, width: image.width * 2 }));
			conv(`up.${level}.upsample.conv`, x, a, channels, channels, { upsample: true });
			[x, a] = [a, x];
		}
		norm("norm_out", x, a, channels);
		conv("conv_out", a, this.output, channels, 4);
		packRgb(pass, { x: this.output, y: this.rgba, pixels: pixelsOf(images), channels: 4, label: "decoder pack" });
	}

	destroy(): void {
		this.#gpu.free(...this.#work, this.#scratch, this.output, this.rgba);
	}
}

const pixelsOf = (images: readonly ImageShape[]) => images.reduce((sum, { height, width }) => sum + height * width, 0);
