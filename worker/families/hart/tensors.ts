/** Every tensor that inference of a HART model reads, with its shape: official names under a prefix. */

import {
	linear,
	matrix,
	norm,
	plain,
	precise,
	scale,
	type TensorShape,
	table,
} from "../../../model-shards/format/tensor-shapes.ts";
import { codebookTensors } from "../shared/codebook.ts";
import { headScales, qkvBiases } from "../shared/tensors.ts";
import { textTensors } from "../text/tensors.ts";
import type { HartConfig } from "./config.ts";

/** Sines and cosines that a time or a level becomes before its first matrix. */
export const TIME_CHANNELS = 256;

/** `text_encoder.*`, `transformer.*` and `vae.*`, in the order they are used. */
export function hartTensors(config: HartConfig): TensorShape[] {
	const { depth, width, heads, ffn, textChannels, normalised, residual, codebook, vae, textEncoder } = config;
	const { contextNorm = true, modulation = "table", feedForward = "swiglu", levels = "sines", scales = 0 } = config;
	const t = (name: string) => `transformer.${name}`;
	const list: TensorShape[] = [
		...(textEncoder ? textTensors(textEncoder) : []),
		...(contextNorm ? [scale(t("context_norm"), textChannels)] : []),
		...precise(t("context_embed"), textChannels, width),
		...(levels === "table"
			? [table(t("lvl_embed"), scales, width)]
			: [...precise(t("lvl_embed.mlp.0"), TIME_CHANNELS, width), ...precise(t("lvl_embed.mlp.2"), width, width)]),
		...precise(t("word_embed"), codebook.channels, width),
	];
	for (let block = 0; block < depth; block++) {
		const b = (name: string) => t(`blocks.${block}.${name}`);
		list.push(
			...modulations(b, width, modulation),
			scale(b("ln_wo_grad"), width),
			...(normalised ? [headScales(b("attn"), heads)] : []),
			...qkvBiases(b("attn"), width, b("attn.qkv_proj")),
			matrix(b("attn.qkv_proj"), width, 3 * width),
			...linear(b("attn.proj"), width, width),
			...(feedForward === "gelu"
				? [...linear(b("ffn.fc1"), width, ffn), ...linear(b("ffn.fc2"), ffn, width)]
				: [
						matrix(b("ffn.gate_proj"), width, ffn),
						matrix(b("ffn.up_proj"), width, ffn),
						matrix(b("ffn.down_proj"), ffn, width),
					]),
		);
	}
	list.push(
		scale(t("head_nm.ln_wo_grad"), width),
		...precise(t("head_nm.ada_lin.1"), width, 2 * width),
		...precise(t("head"), width, codebook.vocabulary),
		scale(t("decoder_norm"), width),
	);
	return [
		...list,
		...residualTensors(residual.width, residual.depth, width, codebook.channels),
		...codebookTensors(codebook, vae),
	];
}

function modulations(
	b: (name: string) => string,
	width: number,
	modulation: NonNullable<HartConfig["modulation"]>,
): TensorShape[] {
	if (modulation === "none") return [];
	return modulation === "table" ? [plain(b("scale_shift_table"), 6, width)] : linear(b("ada_lin.1"), width, 6 * width);
}

/** Of the residual diffusion's network. */
function residualTensors(width: number, depth: number, condition: number, channels: number): TensorShape[] {
	const n = (name: string) => `transformer.diffloss.net.${name}`;
	return [
		...precise(n("time_embed.mlp.0"), TIME_CHANNELS, width),
		...precise(n("time_embed.mlp.2"), width, width),
		...precise(n("cond_embed"), condition, width),
		...precise(n("input_proj"), channels, width),
		...Array.from({ length: depth }, (_, block) => [
			...norm(n(`res_blocks.${block}.in_ln`), width),
			...linear(n(`res_blocks.${block}.mlp.0`), width, width),
			...linear(n(`res_blocks.${block}.mlp.2`), width, width),
			...linear(n(`res_blocks.${block}.adaLN_modulation.1`), width, 3 * width),
		]).flat(),
		...precise(n("final_layer.adaLN_modulation.1"), width, 2 * width),
		...precise(n("final_layer.linear"), width, 2 * channels),
	];
}
