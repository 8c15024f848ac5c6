import { attention } from "../../../../kernels/attention.ts";
import type { Gpu, Tensor } from "../../../../kernels/gpu.ts";
import type { Pass } from "../../../../kernels/pass.ts";
import { matmul } from "../../../../kernels/matmul.ts";
import { layerNorm } from "../../../../kernels/norm.ts";
import { rotateAndCache } from "../../../../kernels/rope.ts";
import type { RowTable } from "../../../../kernels/rows.ts";
import type { InfinityConfig } from "../../../../model-shards/infinity-config.ts";
import type { Taps } from "../../tap.ts";
import type { Weights } from "../../weights.ts";
import { blockName } from "./text.ts";

/** Activations of one batch of tokens, reused by every block. */
export interface BlockWork {
	/** [tokens, width] */
	normed: Tensor;
	/** [tokens, 3 * width] */
	qkv: Tensor;
	/** [tokens, width] */
	attended: Tensor;
	/** [tokens, ffn] */
	hidden: Tensor;
}
export function blockWork(make: (label: string, shape: number[]) => Tensor, config: InfinityConfig, tokens: number): BlockWork {
	const { width, ffn } = config;
	return {
		normed: make("block norm", [tokens, width]),
		qkv: make("block qkv", [tokens, 3 * width]),
		attended: make("block attention", [tokens, width]),
		hidden: make("block ffn", [tokens, ffn]),
	};
}

/** A job's tokens in the batch, for its taps. */
export interface BlockPart {
	taps: Taps;
	/** Prefix of tapped names: `s4`. */
	name: string;
	/** First token, guidance rows, tokens a row. */
	at: number;
	rows: number;
	length: number;
}

export interface BlockInput {
	gpu: Gpu;
	config: InfinityConfig;
	weights: Weights;
	block: number;
	/** [tokens, width]; updated in place. */
	x: Tensor;
	work: BlockWork;
	/** Of this block, [conds, 6 * width]. */
	modulation: Tensor;
	/** Of this block, [keys, 2 * width]: cached keys and values, those of the text too. */
	kv: Tensor;
	rope: { table: Tensor; positions: number };
	/** Rows with their cache ranges, and the same rows with their text ranges. */
	self: RowTable;
	cross: RowTable;
	parts: readonly BlockPart[];
}

/** One Infinity block: gated self attention, cross attention, gated feed-forward. Each adds to the residual stream. */
export function block(pass: Pass, { gpu, config, weights, block, x, work, modulation, kv, rope, self, cross, parts }: BlockInput): void {
	const { width, heads, ffn, normEps } = config;
	const { tokens } = self;
	const headDim = width / heads;
	const official = `transformer.${blockName(config, block)}`;
	const [gamma1, gamma2, scale1, scale2, shift1, shift2] = [0, 1, 2, 3, 4, 5].map((i) => i * width);

	const linear = (module: string, from: Tensor, y: Tensor, k: number, n: number, more: { gelu?: boolean } = {}) =>
		matmul(pass, { x: from, y, ...weights.linear(`${official}.${module}`), m: tokens, k, n, ...more, label: `block ${block} ${module}` });
	/** x += gate * linear(from). Where the raw output is tapped it is computed once more beside the fused one. */
	const addLinear = (module: string, from: Tensor, k: number, tapped: string, gate?: number) => {
		const name = (part: BlockPart) => `${part.name}.blk${block}.${tapped}`;
		const wanted = parts.filter((part) => part.taps.wants(name(part)));
		if (wanted.length > 0) {
			const raw = gpu.tensor(`raw ${tapped}`, [tokens, width]);
			linear(module, from, raw, k, width);
			for (const part of wanted) part.taps.keep(pass, name(part), raw, [part.rows, part.length, width], { from: part.at * width });
			pass.afterwards(() => gpu.free(raw));
		}
		const gated = gate === undefined ? undefined : { table: modulation, stride: 6 * width, at: gate, rows: self };
		matmul(pass, { x: from, y: x, ...weights.linear(`${official}.${module}`), m: tokens, k, n: width, add: true, gate: gated, label: `block ${block} ${module}` });
	};
	const modulated = (scale: number, shift: number, label: string) =>
		layerNorm(pass, { x, y: work.normed, width, eps: normEps, rows: self, after: { kind: "modulate", table: modulation, stride: 6 * width, scale, shift }, label: `block ${block} ${label}` });

	modulated(scale1, shift1, "norm1");
	linear("sa.mat_qkv", work.normed, work.qkv, width, 3 * width);
	rotateAndCache(pass, {
		qkv: work.qkv, cache: kv, cosSin: rope.table, positions: rope.positions,
		scaleMul: weights.get(`${official}.sa.scale_mul_1H11`), heads, headDim, rows: self, label: `block ${block} rope`,
	});
	const cached = { tensor: kv, stride: 2 * width, key: 0, value: width };
	attention(pass, { q: work.qkv, qStride: 3 * width, kv: cached, own: { key: width, value: 2 * width }, y: work.attended, heads, headDim, scale: 1, rows: self, label: `block ${block} sa` });
	addLinear("sa.proj", work.attended, width, "sa_out", gamma1);

	layerNorm(pass, { x, y: work.normed, width, eps: normEps, rows: self, after: { kind: "affine", ...weights.linear(`${official}.ca_norm`) }, label: `block ${block} ca_norm` });
	linear("ca.mat_q", work.normed, work.qkv, width, width);
	attention(pass, { q: work.qkv, qStride: width, kv: cached, y: work.attended, heads, headDim, scale: headDim ** -0.5, rows: cross, label: `block ${block} ca` });
	addLinear("ca.proj", work.attended, width, "ca_out");

	modulated(scale2, shift2, "norm2");
	linear("ffn.fc1", work.normed, work.hidden, width, ffn, { gelu: true });
	addLinear("ffn.fc2", work.hidden, ffn, "ffn_out", gamma2);
}
