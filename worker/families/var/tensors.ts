/** Every tensor that inference of a VAR model reads, with its shape: official names under a prefix. */

import { linear, matrix, plain, precise, type TensorShape, table } from "../../../model-shards/format/tensor-shapes.ts";
import { codebookTensors } from "../shared/codebook.ts";
import { headScales, qkvBiases } from "../shared/tensors.ts";
import type { VarConfig } from "./config.ts";

/** `transformer.*` and `vae.*`, in the order they are used. */
export function varTensors(config: VarConfig): TensorShape[] {
	const { width, heads, ffn, classes, adaln, normalised, scales, tokens, startTokens = 1, codebook } = config;
	const t = (name: string) => `transformer.${name}`;
	const list: TensorShape[] = [
		table(t("class_emb"), classes + 1, width),
		plain(t("pos_start"), 1, startTokens, width),
		plain(t("pos_1LC"), 1, tokens, width),
		table(t("lvl_embed"), scales, width),
		...precise(t("word_embed"), codebook.channels, width),
		...(adaln === "shared" ? linear(t("shared_ada_lin.1"), width, 6 * width) : []),
	];
	for (let block = 0; block < config.depth; block++) {
		const b = (name: string) => t(`blocks.${block}.${name}`);
		list.push(
			...(adaln === "shared" ? [plain(b("ada_gss"), 1, 1, 6, width)] : linear(b("ada_lin.1"), width, 6 * width)),
			...(normalised ? [headScales(b("attn"), heads)] : []),
			...qkvBiases(b("attn"), width),
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
