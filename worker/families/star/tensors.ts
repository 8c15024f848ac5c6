/** Every tensor that inference of a STAR model reads, with its shape: official names under a prefix. */

import { linear, matrix, plain, precise, type TensorShape, table } from "../../../model-shards/format/tensor-shapes.ts";
import { codebookTensors } from "../shared/codebook.ts";
import { headScales, kvBias, qBias, qkvBiases } from "../shared/tensors.ts";
import { textTensors } from "../text/tensors.ts";
import type { StarConfig } from "./config.ts";

/** `text_encoder.*`, `transformer.*` and `vae.*`, in the order they are used. */
export function starTensors(config: StarConfig): TensorShape[] {
	const { depth, width, heads, ffn, textChannels, scales, startTokens = 1, codebook, vae, textEncoder } = config;
	const { normalised = true, crossAttention = true } = config;
	const t = (name: string) => `transformer.${name}`;
	const list: TensorShape[] = [
		...(textEncoder ? textTensors(textEncoder) : []),
		...linear(t("encoder_proj"), textChannels, width),
		plain(t("pos_start"), 1, startTokens, width),
		table(t("lvl_embed"), scales, width),
		...precise(t("word_embed"), codebook.channels, width),
	];
	for (let block = 0; block < depth; block++) {
		const b = (name: string) => t(`blocks.${block}.${name}`);
		list.push(
			...(normalised ? [headScales(b("attn"), heads)] : []),
			...qkvBiases(b("attn"), width),
			matrix(b("attn.mat_qkv"), width, 3 * width),
			...linear(b("attn.proj"), width, width),
			...(crossAttention ? crossTensors(b("cross_attn"), heads, width, textChannels, normalised) : []),
			...linear(b("ffn.fc1"), width, ffn),
			...linear(b("ffn.fc2"), ffn, width),
		);
	}
	return [...list, ...precise(t("head_logits"), width, codebook.vocabulary), ...codebookTensors(codebook, vae)];
}

function crossTensors(name: string, heads: number, width: number, textChannels: number, normalised: boolean) {
	return [
		...(normalised ? [headScales(name, heads)] : []),
		qBias(name, width),
		kvBias(name, width),
		matrix(`${name}.mat_q`, width, width),
		matrix(`${name}.mat_kv`, textChannels, 2 * width),
		...linear(`${name}.proj`, width, width),
	];
}
