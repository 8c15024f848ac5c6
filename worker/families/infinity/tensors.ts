/** Every tensor that inference of an Infinity-family model reads, with its shape: official names under a prefix. */

import {
	decoderTensors,
	linear,
	matrix,
	norm,
	precise,
	type TensorShape,
} from "../../../model-shards/format/tensor-shapes.ts";
import { textTensors } from "../text/tensors.ts";
import { type InfinityConfig, MAX_LEVELS } from "./config.ts";

/** `transformer.*`, `text_encoder.*` and `vae.decoder.*`, in the order they are used. */
export function infinityTensors(config: InfinityConfig): TensorShape[] {
	return [
		...(config.textEncoder ? textTensors(config.textEncoder) : []),
		...transformer(config),
		...decoderTensors(config.vae, config.bits, "wrapped"),
	];
}

function transformer(config: InfinityConfig): TensorShape[] {
	const { width, heads, ffn, textChannels, textMaxTokens, poolHeads } = config;
	const bits = config.bits * (config.patchify ?? 1) ** 2;
	const t = (name: string) => `transformer.${name}`;
	const list: TensorShape[] = [
		{ name: t("cfg_uncond"), shape: [textMaxTokens, textChannels] },
		{ name: t("text_norm.weight"), shape: [textChannels] },
		{ name: t("text_proj_for_sos.ca.mat_q"), shape: [1, poolHeads, width / poolHeads] },
		{ name: t("text_proj_for_sos.ca.v_bias"), shape: [width] },
		matrix(t("text_proj_for_sos.ca.mat_kv"), textChannels, 2 * width),
		...linear(t("text_proj_for_sos.ca.proj"), width, width),
		...linear(t("text_proj_for_ca.0"), textChannels, width),
		...linear(t("text_proj_for_ca.2"), width, width),
		{ name: t("pos_start"), shape: [1, 1, width] },
		{ name: t("lvl_embed.weight"), shape: [MAX_LEVELS, width] },
		...precise(t("word_embed"), bits, width),
		...linear(t("shared_ada_lin.1"), width, 6 * width),
	];
	for (let block = 0; block < config.depth; block++) {
		const chunk = Math.floor(block / config.chunkBlocks);
		const b = (name: string) => t(`block_chunks.${chunk}.module.${block % config.chunkBlocks}.${name}`);
		list.push(
			{ name: b("ada_gss"), shape: [1, 1, 6, width] },
			{ name: b("sa.scale_mul_1H11"), shape: [1, heads, 1, 1] },
			{ name: b("sa.q_bias"), shape: [width] },
			{ name: b("sa.v_bias"), shape: [width] },
			matrix(b("sa.mat_qkv"), width, 3 * width),
			...linear(b("sa.proj"), width, width),
			...norm(b("ca_norm"), width),
			...linear(b("ca.mat_q"), width, width),
			{ name: b("ca.v_bias"), shape: [width] },
			matrix(b("ca.mat_kv"), width, 2 * width),
			...linear(b("ca.proj"), width, width),
			...linear(b("ffn.fc1"), width, ffn),
			...linear(b("ffn.fc2"), ffn, width),
		);
	}
	return [...list, ...linear(t("head_nm.ada_lin.1"), width, 2 * width), ...precise(t("head"), width, 2 * bits)];
}
