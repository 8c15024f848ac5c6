/**
 * VAR's multi-scale vector quantisation (arXiv 2404.02905), as data: one code of a vocabulary a token, partially shared
 * convolutions after enlarging.
 */
import { z } from "zod";
import { conv, plain, type TensorShape } from "../../../model-shards/format/tensor-shapes.ts";
import type { CodeShape, TapNames } from "../family.ts";
import { Count } from "./schema.ts";
import { attentiveDecoder, decoderTensors, type VaeConfig } from "./vae.ts";

export const CodebookConfig = z.strictObject({
	vocabulary: Count.refine((size) => size > 1 && Number.isInteger(Math.log2(size)), "expected a power of two"),
	/** Of a code's vector, and of the latent. */
	channels: Count,
	/** Convolutions that the scales share. */
	phis: Count,
});
export type CodebookConfig = z.infer<typeof CodebookConfig>;

export const codebookShape = ({ vocabulary, channels }: CodebookConfig): CodeShape => ({
	bits: Math.log2(vocabulary),
	logits: vocabulary,
	choices: 1,
	patch: 1,
	channels,
	features: channels,
});

export const CODES = "vae.quantize.embedding.weight";
/** Official name of a shared convolution. */
export const phiName = (phi: number): string => `vae.quantize.quant_resi.qresi_ls.${phi}`;

/** Of the whole picture tokenizer: codes, their convolutions, and the decoder. */
export const codebookTensors = ({ vocabulary, channels, phis }: CodebookConfig, vae: VaeConfig): TensorShape[] => [
	plain(CODES, vocabulary, channels),
	...Array.from({ length: phis }, (_, phi) => conv(phiName(phi), channels, channels)).flat(),
	...decoderTensors(attentiveDecoder(vae), channels),
];

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
