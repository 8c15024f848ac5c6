/** Every tensor that inference of a STAR model reads, with its shape: official names under a prefix. */

import { linear, matrix, precise, type TensorShape } from "../../../model-shards/format/tensor-shapes.ts";
import { textTensors } from "../text/tensors.ts";
import { codebookTensors } from "../var/tensors.ts";
import type { StarConfig } from "./config.ts";

/** `text_encoder.*`, `transformer.*` and `vae.*`, in the order they are used. */
export function starTensors({
	depth,
	width,
	heads,
	ffn,
	textChannels,
	scales,
	codebook,
	vae,
	textEncoder,
}: StarConfig): TensorShape[] {
	const t = (name: string) => `transformer.${name}`;
	const list: TensorShape[] = [
		...(textEncoder ? textTensors(textEncoder) : []),
		...linear(t("encoder_proj"), textChannels, width),
		{ name: t("pos_start"), shape: [1, 1, width] },
		{ name: t("lvl_embed.weight"), shape: [scales, width] },
		...precise(t("word_embed"), codebook.channels, width),
	];
	for (let block = 0; block < depth; block++) {
		const b = (name: string) => t(`blocks.${block}.${name}`);
		const biases = (module: string): TensorShape[] => [
			{ name: b(`${module}.scale_mul_1H11`), shape: [1, heads, 1, 1] },
			{ name: b(`${module}.q_bias`), shape: [width] },
			{ name: b(`${module}.v_bias`), shape: [width] },
		];
		list.push(
			...biases("attn"),
			matrix(b("attn.mat_qkv"), width, 3 * width),
			...linear(b("attn.proj"), width, width),
			...biases("cross_attn"),
			matrix(b("cross_attn.mat_q"), width, width),
			matrix(b("cross_attn.mat_kv"), textChannels, 2 * width),
			...linear(b("cross_attn.proj"), width, width),
			...linear(b("ffn.fc1"), width, ffn),
			...linear(b("ffn.fc2"), ffn, width),
		);
	}
	return [...list, ...precise(t("head_logits"), width, codebook.vocabulary), ...codebookTensors(codebook, vae)];
}
