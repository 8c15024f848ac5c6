import {
	linear,
	matrix,
	plain,
	precise,
	scale,
	type TensorShape,
	table,
} from "../../../../model-shards/format/tensor-shapes.ts";
import { codebookTensors } from "../../shared/codebook.ts";
import { qkvBiases } from "../../shared/tensors.ts";
import type { FifthConfig } from "./config.ts";

export function fifthTensors(config: FifthConfig): TensorShape[] {
	const { depth, width, ffn, classes, scales, tokens, codebook, vae } = config;
	const t = (name: string) => `transformer.${name}`;
	const block = (index: number): TensorShape[] => {
		const b = (name: string) => t(`blocks.${index}.${name}`);
		return [
			...linear(b("ada_lin.1"), width, 6 * width),
			scale(b("norm1"), width),
			...qkvBiases(b("attn"), width),
			matrix(b("attn.mat_qkv"), width, 3 * width),
			...linear(b("attn.proj"), width, width),
			scale(b("norm2"), width),
			...linear(b("ffn.fc1"), width, ffn),
			...linear(b("ffn.fc2"), ffn, width),
		];
	};
	return [
		table(t("class_emb"), classes + 1, width),
		plain(t("pos_start"), 1, 1, width),
		plain(t("pos_1LC"), 1, tokens, width),
		table(t("lvl_embed"), scales, width),
		...precise(t("word_embed"), codebook.channels, width),
		...Array.from({ length: depth }, (_, index) => block(index)).flat(),
		scale(t("head_norm"), width),
		...linear(t("head_nm.ada_lin.1"), width, 2 * width),
		...precise(t("head"), width, codebook.vocabulary),
		...codebookTensors(codebook, vae),
	];
}
