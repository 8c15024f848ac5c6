import { attention } from "../../../kernels/attention/attention.ts";
import { type RotateAndCache, rotateAndCache } from "../../../kernels/attention/rope.ts";
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { rowsFrom, type Tensor } from "../../../kernels/gpu/tensor.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { modulatedNorm } from "../../../kernels/norm/modulated-norm.ts";
import { activate } from "../../../kernels/pointwise/activation.ts";
import { type RowTable, rowsAfter } from "../../../kernels/tokens/rows.ts";
import type { BlockContext, GraphShape, KeyRows } from "../family.ts";
import type { Taps } from "./taps.ts";
import type { Module } from "./weights.ts";

/** A picture's tokens in the batch, for its taps. */
export interface BlockPart {
	taps: Taps;
	/** Prefix of tapped names: `s4`. */
	name: string;
	/** First token, guidance rows, tokens a row. */
	at: number;
	rows: number;
	length: number;
	textGuidance: number;
	scale: number;
}

/** Vectors of a block's modulation, [conds, 6 * width], for its first and its second half. */
export const GAMMA = [0, 1] as const;
const SCALE = [2, 3] as const;
const SHIFT = [4, 5] as const;

/** [conds, 6 * width] and which of its vectors, or one for all. */
interface Gate {
	table: Tensor;
	vector?: number;
}

export interface Modulated {
	/** Which half of the block. */
	half: 0 | 1;
	eps: number;
	/** LayerNorm, else RMS norm; [width], 1 where left out. */
	centred: boolean;
	weight?: Tensor;
}

/**
 * The steps that blocks of every family are made of, with the block's own tensors. They run thousands of times a
 * picture: objects are written out here, since spreading one costs more than all else that recording does.
 */
export function blockOps(
	pass: Pass,
	{ gpu, shape: { width, heads, ffn } }: { gpu: Gpu; shape: GraphShape },
	module: Module,
	{ index, x, work, self, groups, selected, parts }: BlockContext,
) {
	const { tokens } = self;
	const headDim = width / heads;
	const label = (name: string) => `block ${index} ${name}`;
	const linear = (name: string, from: Tensor, y: Tensor, k: number, n: number, gelu = false, m = tokens) => {
		const { weight, bias } = module.projection(name);
		matmul(pass, { x: from, y, weight, bias, m, k, n, gelu, label: label(name) });
	};
	const addTo = (y: Tensor, name: string, from: Tensor, k: number, rows: RowTable, gate: Gate | undefined) => {
		const stride = gate?.vector === undefined ? 0 : 6 * width;
		const at = (gate?.vector ?? 0) * width;
		const gated = gate && { table: gate.table, stride, at, rows };
		const { weight, bias } = module.projection(name);
		matmul(pass, { x: from, y, weight, bias, m: rows.tokens, k, n: width, add: true, gate: gated, label: label(name) });
	};
	/** Room for what a module gives before it is added, for those who tap it. */
	const tapped = (name: string): { raw: Tensor; keep(): void } | undefined => {
		if (!parts.some(({ taps }) => taps.on)) return;
		const tapName = (part: BlockPart) => `${part.name}.blk${index}.${name}`;
		const wanted = parts.filter((part) => part.taps.wants(tapName(part)));
		if (wanted.length === 0) return;
		const raw = pass.own(gpu.long(`raw ${name}`, [tokens, width]));
		const keep = () => {
			for (const part of wanted)
				part.taps.keep(pass, tapName(part), raw, [part.rows, part.length, width], { from: part.at * width });
		};
		return { raw, keep };
	};
	return {
		label,
		linear,
		/** A module's raw output for those who tap it, computed beside the fused one. */
		tapLinear(name: string, from: Tensor, k: number, tapName: string) {
			const tap = tapped(tapName);
			if (!tap) return;
			linear(name, from, tap.raw, k, width);
			tap.keep();
		},
		/**
		 * x += gate * linear(from): a vector of a modulation, or without `vector` the same for all; without `gate`, x +=
		 * linear(from).
		 */
		addLinear(name: string, from: Tensor, k: number, gate?: Gate) {
			addTo(x, name, from, k, self, gate);
		},
		/**
		 * x += gate * down(gelu(up(work.normed))), or with `gated` down(silu(gated(..)) * up(..)), tapped as "ffn_out"
		 * before it is added. As many rows at a time as work.hidden holds.
		 */
		feedForward({ up, gated, down }: { up: string; gated?: string; down: string }, gate?: Gate) {
			const { normed, hidden } = work;
			const tap = tapped("ffn_out");
			const most = hidden.shape[0];
			for (let first = 0; first < tokens; first += most) {
				const count = Math.min(most, tokens - first);
				const rows = (tensor: Tensor) => (count === tokens ? tensor : rowsFrom(tensor, first, count));
				if (gated) {
					linear(gated, rows(normed), hidden, width, ffn, false, count);
					linear(up, rows(normed), work.up, width, ffn, false, count);
					activate(pass, { x: hidden, gated: work.up, count: count * ffn, how: "silu", label: label("gate") });
				} else linear(up, rows(normed), hidden, width, ffn, true, count);
				if (tap) linear(down, hidden, rows(tap.raw), ffn, width, false, count);
				const own = count === tokens ? self : rowsAfter(self, first, count);
				addTo(rows(x), down, hidden, ffn, own, gate);
			}
			tap?.keep();
		},
		/** work.normed = norm(x) * (1 + scale) + shift, two vectors of the modulation. */
		modulated(table: Tensor, { half, eps, centred, weight }: Modulated) {
			modulatedNorm(pass, {
				x,
				y: work.normed,
				tokens,
				width,
				eps,
				centred,
				weight,
				table,
				stride: 6 * width,
				scale: SCALE[half] * width,
				shift: SHIFT[half] * width,
				rows: self,
				label: label(half === 0 ? "norm1" : "norm2"),
			});
		},
		/**
		 * Self attention of work.normed into work.attended: `projection` makes queries, keys and values, which are rotated,
		 * stored, and read with all earlier keys. As many sequences at a time as work.qkv holds.
		 */
		selfAttention(
			projection: string,
			rotation: Pick<RotateAndCache, "cosSin" | "halves">,
			{ scaleMul, scale }: { scaleMul: Tensor | undefined; scale: number },
			name: string,
		) {
			const { normed, qkv, attended } = work;
			const { cosSin, halves } = rotation;
			for (const { at, rows, kv, packed } of groups) {
				const own = (tensor: Tensor) => (groups.length === 1 ? tensor : rowsFrom(tensor, at, rows.tokens));
				linear(projection, own(normed), qkv, width, 3 * width, false, rows.tokens);
				packed?.unpack(pass);
				rotateAndCache(pass, {
					qkv,
					cache: packed ? undefined : kv,
					cosSin,
					halves,
					selected,
					scaleMul,
					heads,
					headDim,
					rows,
					label: label("rope"),
				});
				packed?.pack(pass, qkv);
				attention(pass, {
					q: qkv,
					qStride: 3 * width,
					kv: { tensor: kv, stride: 2 * width, key: 0, value: width },
					own: { key: width, value: 2 * width },
					y: own(attended),
					heads,
					headDim,
					scale,
					rows,
					label: label(name),
				});
			}
		},
		/** y = what the queries [tokens, width] in work.qkv read of the rows' text. */
		crossAttention(text: readonly KeyRows[], y: Tensor, scale: number, name: string) {
			for (const { kv, rows, packed } of text) {
				packed?.unpack(pass);
				const kept = { tensor: kv, stride: 2 * width, key: 0, value: width };
				attention(pass, { q: work.qkv, qStride: width, kv: kept, y, heads, headDim, scale, rows, label: label(name) });
			}
		},
	};
}
