/** Every tensor that inference of a VAR model reads, with its shape: official names under a prefix. */

import {
	conv,
	decoderTensors,
	linear,
	matrix,
	precise,
	type TensorShape,
} from "../../../model-shards/format/tensor-shapes.ts";
import type { VaeConfig } from "../infinity/config.ts";
import type { CodebookConfig, VarConfig } from "./config.ts";

/** `transformer.*` and `vae.*`, in the order they are used. */
export function varTensors(config: VarConfig): TensorShape[] {
	const { width, heads, ffn, classes, adaln, normalised, scales, tokens, codebook } = config;
	const t = (name: string) => `transformer.${name}`;
	const list: TensorShape[] = [
		{ name: t("class_emb.weight"), shape: [classes + 1, width] },
		{ name: t("pos_start"), shape: [1, 1, width] },
		{ name: t("pos_1LC"), shape: [1, tokens, width] },
		{ name: t("lvl_embed.weight"), shape: [scales, width] },
		...precise(t("word_embed"), codebook.channels, width),
		...(adaln === "shared" ? linear(t("shared_ada_lin.1"), width, 6 * width) : []),
	];
	for (let block = 0; block < config.depth; block++) {
		const b = (name: string) => t(`blocks.${block}.${name}`);
		list.push(
			...(adaln === "shared"
				? [{ name: b("ada_gss"), shape: [1, 1, 6, width] }]
				: linear(b("ada_lin.1"), width, 6 * width)),
			...(normalised ? [{ name: b("attn.scale_mul_1H11"), shape: [1, heads, 1, 1] }] : []),
			{ name: b("attn.q_bias"), shape: [width] },
			{ name: b("attn.v_bias"), shape: [width] },
			matrix(b("attn.mat_qkv"), width, 3 * width),
			...linear(b("attn.proj"), width, width),
			...linear(b("ffn.fc1"), width, ffn),
			...linear(b("ffn.fc2"), ffn, width),
		);
	}
	return [
		...list,
		...linear(t("head_nm.ada_lin.1"), width, 2 * width),
		...precise(t("head"), width, codebook.vocabulary),
		...codebookTensors(codebook, config.vae),
	];
}

/** Of the picture tokenizer: codes, their convolutions, and the decoder. */
export function codebookTensors({ vocabulary, channels, phis }: CodebookConfig, vae: VaeConfig): TensorShape[] {
	return [
		{ name: "vae.quantize.embedding.weight", shape: [vocabulary, channels] },
		...Array.from({ length: phis }, (_, phi) =>
			conv(`vae.quantize.quant_resi.qresi_ls.${phi}`, channels, channels),
		).flat(),
		...decoderTensors(vae, channels, "attentive"),
	];
}
