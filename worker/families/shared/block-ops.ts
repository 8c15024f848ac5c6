import { attention } from "../../../kernels/attention/attention.ts";
import { type RotateAndCache, rotateAndCache } from "../../../kernels/attention/rope.ts";
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { modulatedNorm } from "../../../kernels/norm/modulated-norm.ts";
import type { RowTable } from "../../../kernels/tokens/rows.ts";
import type { BlockContext, GraphShape } from "../family.ts";
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
	{ gpu, shape: { width, heads } }: { gpu: Gpu; shape: GraphShape },
	module: Module,
	{ index, x, work, kv, self, selected, parts }: BlockContext,
) {
	const { tokens } = self;
	const headDim = width / heads;
	const label = (name: string) => `block ${index} ${name}`;
	const linear = (name: string, from: Tensor, y: Tensor, k: number, n: number, gelu = false) => {
		const { weight, bias } = module.projection(name);
		matmul(pass, { x: from, y, weight, bias, m: tokens, k, n, gelu, label: label(name) });
	};
	return {
		label,
		linear,
		/** A module's raw output for those who tap it, computed beside the fused one. */
		tapLinear(name: string, from: Tensor, k: number, tapped: string) {
			if (!parts.some(({ taps }) => taps.on)) return;
			const tapName = (part: BlockPart) => `${part.name}.blk${index}.${tapped}`;
			const wanted = parts.filter((part) => part.taps.wants(tapName(part)));
			if (wanted.length === 0) return;
			const raw = gpu.tensor(`raw ${tapped}`, [tokens, width]);
			linear(name, from, raw, k, width);
			for (const part of wanted)
				part.taps.keep(pass, tapName(part), raw, [part.rows, part.length, width], { from: part.at * width });
			pass.afterwards(() => gpu.free(raw));
		},
		/**
		 * x += gate * linear(from): a vector of a modulation, or without `vector` the same for all; without `gate`, x +=
		 * linear(from).
		 */
		addLinear(name: string, from: Tensor, k: number, gate?: { table: Tensor; vector?: number }) {
			const stride = gate?.vector === undefined ? 0 : 6 * width;
			const at = (gate?.vector ?? 0) * width;
			const gated = gate && { table: gate.table, stride, at, rows: self };
			const { weight, bias } = module.projection(name);
			const op = { x: from, y: x, weight, bias, m: tokens, k, n: width, add: true, gate: gated, label: label(name) };
			matmul(pass, op);
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
		/** The work of self attention on work.qkv: rotated, stored, read with all earlier keys, into work.attended. */
		selfAttention(
			rotation: Pick<RotateAndCache, "cosSin" | "positions" | "halves">,
			{ scaleMul, scale }: { scaleMul: Tensor | undefined; scale: number },
			name: string,
		) {
			const { qkv, attended } = work;
			const { cosSin, positions, halves } = rotation;
			rotateAndCache(pass, {
				qkv,
				cache: kv,
				cosSin,
				positions,
				halves,
				selected,
				scaleMul,
				heads,
				headDim,
				rows: self,
				label: label("rope"),
			});
			attention(pass, {
				q: qkv,
				qStride: 3 * width,
				kv: { tensor: kv, stride: 2 * width, key: 0, value: width },
				own: { key: width, value: 2 * width },
				y: attended,
				heads,
				headDim,
				scale,
				rows: self,
				label: label(name),
			});
		},
		/** y = what the queries [tokens, width] in work.qkv read of the rows' text. */
		crossAttention(rows: RowTable, y: Tensor, scale: number, name: string) {
			const kept = { tensor: kv, stride: 2 * width, key: 0, value: width };
			attention(pass, { q: work.qkv, qStride: width, kv: kept, y, heads, headDim, scale, rows, label: label(name) });
		},
	};
}
