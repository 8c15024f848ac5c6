/**
 * VAR's multi-scale vector quantisation (arXiv 2404.02905), as data: one code of a vocabulary a token, partially shared
 * convolutions after enlarging.
 */
import { z } from "zod";
import { conv, type TensorShape } from "../../../model-shards/format/tensor-shapes.ts";
import type { CodeShape, TapNames } from "../family.ts";
import { padded } from "./padded.ts";
import { Count, Layers } from "./schema.ts";
import { attentiveDecoder, decoderTensors, type VaeConfig } from "./vae.ts";

export const CodebookConfig = z.strictObject({
	vocabulary: Count.min(2),
	/** Of a code's vector, and of the latent. */
	channels: Count,
	/** Convolutions that the scales share. */
	phis: Layers,
	/** How the checkpoint holds them: some for all scales, a single one, or one for each scale. Left out: some. */
	phiNames: z.enum(["some", "single", "each"]).optional(),
	/** Share of a convolved map in what is added, beside that of the map itself; at 0 there are none. Left out: 0.5. */
	phiShare: z.number().min(0).max(64).optional(),
});
export type CodebookConfig = z.infer<typeof CodebookConfig>;

export const codebookShape = ({ vocabulary, channels }: CodebookConfig): CodeShape => ({
	bits: Math.ceil(Math.log2(vocabulary)),
	choices: 1,
	alternatives: vocabulary,
	patch: 1,
	numbers: channels,
	logits: padded(vocabulary),
	channels: padded(channels),
	features: padded(channels),
});

/** The share of a convolved map. */
export const phiShareOf = ({ phiShare = 0.5 }: CodebookConfig): number => phiShare;

export const CODES = "vae.quantize.embedding.weight";
/** Official name of a shared convolution. */
export function phiName({ phiNames = "some" }: CodebookConfig, phi: number): string {
	const module = "vae.quantize.quant_resi";
	switch (phiNames) {
		case "some":
			return `${module}.qresi_ls.${phi}`;
		case "single":
			return `${module}.qresi`;
		case "each":
			return `${module}.${phi}`;
	}
}

/** Of the whole picture tokenizer: codes, their convolutions, and the decoder. */
export function codebookTensors(config: CodebookConfig, vae: VaeConfig): TensorShape[] {
	const { vocabulary, channels, phis } = config;
	const convolutions = phiShareOf(config) === 0 ? 0 : phis;
	return [
		{ name: CODES, shape: [vocabulary, channels], layout: "rows" },
		...Array.from({ length: convolutions }, (_, phi) => conv(phiName(config, phi), channels, channels)).flat(),
		...decoderTensors(attentiveDecoder(vae), channels),
	];
}

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
