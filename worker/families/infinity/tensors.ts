/** Every tensor that inference of an Infinity-family model reads, with its shape: official names under a prefix. */

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
import { headScales, kvBias, qkvBiases } from "../shared/tensors.ts";
import { decoderTensors, wrappedDecoder } from "../shared/vae.ts";
import { textTensors } from "../text/tensors.ts";
import { type InfinityConfig, MAX_LEVELS } from "./config.ts";

/** Official name of a block: chunk, then the block within it. */
export const blockName = (
	{ chunkBlocks, blockNames }: Pick<InfinityConfig, "chunkBlocks" | "blockNames">,
	block: number,
): string =>
	blockNames === "flat"
		? `blocks.${block}`
		: `block_chunks.${Math.floor(block / chunkBlocks)}.module.${block % chunkBlocks}`;

/** Official names of the head's norm, where it is not modulated, and of its matrices. */
export function headNames({ headNorm, headDepth = 1 }: Pick<InfinityConfig, "headNorm" | "headDepth">): {
	norm: string | undefined;
	matrices: string[];
} {
	if (headNorm === "own") return { norm: "head.0", matrices: headDepth === 2 ? ["head.1", "head.3"] : ["head.1"] };
	return { norm: undefined, matrices: headDepth === 2 ? ["head.0", "head.2"] : ["head"] };
}

/** `transformer.*`, `text_encoder.*` and `vae.decoder.*`, in the order they are used. */
export function infinityTensors(config: InfinityConfig): TensorShape[] {
	return [
		...(config.textEncoder ? textTensors(config.textEncoder) : []),
		...transformer(config),
		...decoderTensors(wrappedDecoder(config.vae), config.bits),
	];
}

function transformer(config: InfinityConfig): TensorShape[] {
	const { width, heads, ffn, textChannels, textMaxTokens, poolHeads, adaln = "shared", normalised = true } = config;
	const bits = config.bits * (config.patchify ?? 1) ** 2;
	const t = (name: string) => `transformer.${name}`;
	const list: TensorShape[] = [
		plain(t("cfg_uncond"), textMaxTokens, textChannels),
		scale(t("text_norm"), textChannels),
		plain(t("text_proj_for_sos.ca.mat_q"), 1, poolHeads, width / poolHeads),
		kvBias(t("text_proj_for_sos.ca"), width),
		matrix(t("text_proj_for_sos.ca.mat_kv"), textChannels, 2 * width),
		...linear(t("text_proj_for_sos.ca.proj"), width, width),
		...linear(t("text_proj_for_ca.0"), textChannels, width),
		...linear(t("text_proj_for_ca.2"), width, width),
		plain(t("pos_start"), 1, 1, width),
		table(t("lvl_embed"), MAX_LEVELS, width),
		...precise(t("word_embed"), bits, width),
		...(adaln === "shared" ? linear(t("shared_ada_lin.1"), width, 6 * width) : []),
	];
	for (let block = 0; block < config.depth; block++) {
		const b = (name: string) => t(`${blockName(config, block)}.${name}`);
		list.push(
			...(adaln === "shared" ? [plain(b("ada_gss"), 1, 1, 6, width)] : linear(b("ada_lin.1"), width, 6 * width)),
			...(normalised ? [headScales(b("sa"), heads)] : []),
			...qkvBiases(b("sa"), width),
			matrix(b("sa.mat_qkv"), width, 3 * width),
			...linear(b("sa.proj"), width, width),
			...normOf(config, b("ca_norm"), width),
			...linear(b("ca.mat_q"), width, width),
			kvBias(b("ca"), width),
			matrix(b("ca.mat_kv"), width, 2 * width),
			...linear(b("ca.proj"), width, width),
			...(config.crossGate ? [plain(b("ca_gamma"), width)] : []),
			...(config.feedForward === "swiglu"
				? [matrix(b("ffn.fcg"), width, ffn), matrix(b("ffn.fc1"), width, ffn), matrix(b("ffn.fc2"), ffn, width)]
				: [...linear(b("ffn.fc1"), width, ffn), ...linear(b("ffn.fc2"), ffn, width)]),
		);
	}
	return [...list, ...head(config, t, 2 * bits)];
}

function head(config: InfinityConfig, t: (name: string) => string, logits: number): TensorShape[] {
	const { width } = config;
	const { norm, matrices } = headNames(config);
	const [first, last] = [matrices[0], matrices[matrices.length - 1]];
	return [
		...(norm === undefined ? linear(t("head_nm.ada_lin.1"), width, 2 * width) : normOf(config, t(norm), width)),
		...(first === last ? [] : precise(t(first), width, width)),
		...precise(t(last), width, logits),
	];
}

/** Of a norm with weights. */
const normOf = ({ norm: kind }: InfinityConfig, name: string, width: number): TensorShape[] =>
	kind === "rms" ? [scale(name, width)] : norm(name, width);
