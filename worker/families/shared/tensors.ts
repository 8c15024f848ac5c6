/** Tensors of attention as the checkpoints of all families have them. */
import type { TensorShape } from "../../../model-shards/format/tensor-shapes.ts";

const part = (name: string, width: number, vector: string, zeros: number): TensorShape => ({
	name,
	shape: [width],
	layout: "plain",
	joins: { vector: `${vector}.bias`, zeros },
});

/** Of q, k and v fused in one matrix: the key's bias is zero in every checkpoint. */
export const qkvBiases = (module: string, width: number, fused = `${module}.mat_qkv`): TensorShape[] => [
	part(`${module}.q_bias`, width, fused, 0),
	part(`${module}.v_bias`, width, fused, width),
];

/** Of queries in a matrix of their own, where the checkpoint does not call it that. */
export const qBias = (module: string, width: number): TensorShape =>
	part(`${module}.q_bias`, width, `${module}.mat_q`, 0);

/** Of k and v fused in one matrix. */
export const kvBias = (module: string, width: number): TensorShape =>
	part(`${module}.v_bias`, width, `${module}.mat_kv`, width);

/** Learned scales of L2-normalised queries, by head. */
export const headScales = (module: string, heads: number): TensorShape => ({
	name: `${module}.scale_mul_1H11`,
	shape: [1, heads, 1, 1],
	// As the official code's own build of FlashAttention has them.
	also: [1, 1, heads, 1],
	layout: "plain",
});

/** The constant biases of the keys, which checkpoints hold and nobody reads. */
export const keyBiases = (tensors: readonly TensorShape[]): { name: string; shape: number[] }[] =>
	tensors.flatMap(({ name, shape, joins }) =>
		joins && joins.zeros > 0 ? [{ name: name.replace(/v_bias$/, "zero_k_bias"), shape }] : [],
	);

/**
 * What inference leaves unread: constants and buffers, and of the picture tokenizer's file what no decoder needs (some
 * hold a discriminator).
 */
export const UNUSED = /^vae\.(?!decoder\.)|\.zero_k_bias$|(^|\.)(mask|lvl_1L|attn_bias_for_masking)$/;

/** The names of both. */
export const either = (a: RegExp, b: RegExp | undefined): RegExp => (b ? new RegExp(`${a.source}|${b.source}`) : a);
