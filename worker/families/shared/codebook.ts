import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { conv3x3 } from "../../../kernels/image/conv.ts";
import { resize } from "../../../kernels/image/interpolate.ts";
import { blend } from "../../../kernels/pointwise/blend.ts";
import { sampleCategories } from "../../../kernels/sample/categories.ts";
import type { SampleRow } from "../../../kernels/sample/row.ts";
import { gatherRows } from "../../../kernels/tokens/gather.ts";
import type { LatentPart, Quantiser, TapNames } from "../family.ts";
import type { VaeConfig } from "../infinity/config.ts";
import type { CodebookConfig } from "../var/config.ts";
import type { DecoderSource } from "./conv-decoder.ts";
import type { Weights } from "./weights.ts";

/**
 * VAR's multi-scale vector quantisation (arXiv 2404.02905): a token is one code of a vocabulary. Its map is enlarged
 * bicubically to the latent's size, passed through phi(h) = h/2 + conv3x3(h)/2, and added.
 */
export class Codebook implements Quantiser {
	readonly bits: number;
	readonly logits: number;
	readonly choices = 1;
	readonly patch = 1;
	readonly channels: number;
	readonly features: number;
	readonly shrink = "area";
	#gpu: Gpu;
	#weights: Weights;
	#config: CodebookConfig;
	#convolveLast: boolean;
	/** [latents, channels]: enlarged maps, and what the convolution makes of them. */
	#maps: [Tensor, Tensor];

	/**
	 * `latentCells`: of all latents together. Without `convolveLast` the codes of the last scale are added as they are.
	 */
	constructor(gpu: Gpu, weights: Weights, config: CodebookConfig, latentCells: number, { convolveLast = true } = {}) {
		this.bits = Math.log2(config.vocabulary);
		this.logits = config.vocabulary;
		this.channels = this.features = config.channels;
		this.#gpu = gpu;
		this.#weights = weights;
		this.#config = config;
		this.#convolveLast = convolveLast;
		this.#maps = [
			gpu.tensor("enlarged maps", [latentCells, config.channels]),
			gpu.tensor("convolved maps", [latentCells, config.channels]),
		];
	}

	sample(
		pass: Pass,
		op: { logits: Tensor; mixed: Tensor; codes: Tensor; taus?: Tensor; rows: readonly SampleRow[] },
	): void {
		sampleCategories(pass, { ...op, vocabulary: this.logits, label: "sample codes" });
	}

	values(pass: Pass, { codes, values, tokens }: { codes: Tensor; values: Tensor; tokens: number }): void {
		gatherRows(pass, {
			x: this.#weights.get("vae.quantize.embedding.weight"),
			index: codes,
			y: values,
			count: tokens,
			width: this.channels,
			label: "code values",
		});
	}

	add(
		pass: Pass,
		{ values, latents, parts: all }: { values: Tensor; latents: Tensor; parts: readonly LatentPart[] },
	): void {
		const { channels } = this;
		const plain = ({ scale, scales }: LatentPart) => !this.#convolveLast && scale === scales - 1;
		for (const { from, to, scale } of all.filter(plain))
			resize(pass, {
				x: values,
				y: latents,
				how: "nearest",
				channels,
				add: scale > 0,
				from: [from],
				to: [to],
				label: "add codes",
			});
		const parts = all.filter((part) => !plain(part));
		if (parts.length === 0) return;
		const [maps, convolved] = this.#maps;
		const images = parts.map(({ to }) => to);
		resize(pass, {
			x: values,
			y: maps,
			how: "bicubic",
			channels,
			from: parts.map(({ from }) => from),
			to: images,
			label: "enlarge maps",
		});
		const phis = Map.groupBy(parts, ({ scale, scales }) => phiOf(scale, scales, this.#config.phis));
		for (const [phi, some] of phis) {
			conv3x3(pass, {
				x: maps,
				y: convolved,
				...this.#weights.linear(`vae.quantize.quant_resi.qresi_ls.${phi}`),
				images: some.map(({ to }) => to),
				inChannels: channels,
				outChannels: channels,
				label: `phi ${phi}`,
			});
		}
		for (const first of [true, false]) {
			const some = parts.filter(({ scale }) => (scale === 0) === first).map(({ to }) => to);
			if (some.length > 0)
				blend(pass, {
					a: maps,
					b: convolved,
					share: 0.5,
					y: latents,
					images: some,
					channels,
					add: !first,
					label: "sum maps",
				});
		}
	}

	destroy(): void {
		this.#gpu.free(...this.#maps);
	}
}

/** The decoder that goes with it. */
export const codebookPicture = (config: VaeConfig): DecoderSource => ({
	config,
	conv: (module) => module,
	norm: (module) => module,
	attentive: true,
});

/** Reference names in the recordings of VAR and its descendants. */
export const codebookTaps: TapNames = {
	input: "input",
	logits: "logits_pre_cfg",
	mixed: "logits_post_cfg",
	latent: "f_hat",
	final: "f_hat_final",
	spanInput: "full_in",
	map: (scale) => ({ name: `s${scale - 1}.next_map`, channelsFirst: true }),
	span: (block) => `blk${block}`,
};

/**
 * Which of the `count` partially shared convolutions a scale uses: the one whose tick is nearest to scale / (scales -
 * 1). Ticks spread evenly over 1/(3 count) .. 1 - 1/(3 count) when there are four, else over 1/(2 count) .. 1 - 1/(2
 * count). Scales 2 and 7 of the published ten lie half-way between two ticks: there the last bit of NumPy's arithmetic
 * decides, which is repeated here.
 */
export function phiOf(scale: number, scales: number, count: number): number {
	const place = scales > 1 ? scale / (scales - 1) : 0;
	const start = 1 / (count === 4 ? 3 : 2) / count;
	const stop = 1 - start;
	const step = (stop - start) / Math.max(1, count - 1);
	const distance = (phi: number) => Math.abs((phi > 0 && phi === count - 1 ? stop : phi * step + start) - place);
	let nearest = 0;
	for (let phi = 1; phi < count; phi++) if (distance(phi) < distance(nearest)) nearest = phi;
	return nearest;
}
