/** Every tensor that inference of a STAR model reads, with its shape: official names under a prefix. */

import { linear, matrix, plain, precise, type TensorShape, table } from "../../../model-shards/format/tensor-shapes.ts";
import { codebookTensors } from "../shared/codebook.ts";
import { headScales, kvBias, qBias, qkvBiases } from "../shared/tensors.ts";
import { textTensors } from "../text/tensors.ts";
import type { StarConfig } from "./config.ts";

/** `text_encoder.*`, `transformer.*` and `vae.*`, in the order they are used. */
export function starTensors(config: StarConfig): TensorShape[] {
	const { depth, width, heads, ffn, textChannels, scales, codebook, vae, textEncoder } = config;
	const t = (name: string) => `transformer.${name}`;
	const list: TensorShape[] = [
		...(textEncoder ? textTensors(textEncoder) : []),
		...linear(t("encoder_proj"), textChannels, width),
		plain(t("pos_start"), 1, 1, width),
		table(t("lvl_embed"), scales, width),
		...precise(t("word_embed"), codebook.channels, width),
	];
	for (let block = 0; block < depth; block++) {
		const b = (name: string) => t(`blocks.${block}.${name}`);
		list.push(
			headScales(b("attn"), heads),
			...qkvBiases(b("attn"), width),
			matrix(b("attn.mat_qkv"), width, 3 * width),
			...linear(b("attn.proj"), width, width),
			headScales(b("cross_attn"), heads),
			qBias(b("cross_attn"), width),
			kvBias(b("cross_attn"), width),
			matrix(b("cross_attn.mat_q"), width, width),
			matrix(b("cross_attn.mat_kv"), textChannels, 2 * width),
			...linear(b("cross_attn.proj"), width, width),
			...linear(b("ffn.fc1"), width, ffn),
			...linear(b("ffn.fc2"), ffn, width),
		);
	}
	return [...list, ...precise(t("head_logits"), width, codebook.vocabulary), ...codebookTensors(codebook, vae)];
}
