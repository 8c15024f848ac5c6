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
import type { Weights } from "./weights.ts";

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

/** The steps that blocks of every family are made of. `official`: the block's name in the checkpoint. */
export function blockOps(
	pass: Pass,
	{ gpu, weights, shape: { width, heads } }: { gpu: Gpu; weights: Weights; shape: GraphShape },
	official: string,
	{ index, x, work, kv, self, selected, parts }: BlockContext,
) {
	const { tokens } = self;
	const headDim = width / heads;
	const cached = { tensor: kv, stride: 2 * width, key: 0, value: width };
	const label = (name: string) => `block ${index} ${name}`;
	const linear = (module: string, from: Tensor, y: Tensor, k: number, n: number, more: { gelu?: boolean } = {}) => {
		const projection = weights.projection(`${official}.${module}`);
		matmul(pass, { x: from, y, ...projection, m: tokens, k, n, ...more, label: label(module) });
	};
	return {
		label,
		linear,
		/** A module's raw output for those who tap it, computed beside the fused one. */
		tapLinear(module: string, from: Tensor, k: number, tapped: string) {
			const name = (part: BlockPart) => `${part.name}.blk${index}.${tapped}`;
			const wanted = parts.filter((part) => part.taps.wants(name(part)));
			if (wanted.length === 0) return;
			const raw = gpu.tensor(`raw ${tapped}`, [tokens, width]);
			linear(module, from, raw, k, width);
			for (const part of wanted)
				part.taps.keep(pass, name(part), raw, [part.rows, part.length, width], { from: part.at * width });
			pass.afterwards(() => gpu.free(raw));
		},
		/**
		 * x += gate * linear(from): a vector of a modulation, or without `vector` the same for all; without `gate`, x +=
		 * linear(from).
		 */
		addLinear(module: string, from: Tensor, k: number, gate?: { table: Tensor; vector?: number }) {
			const place = gate?.vector === undefined ? { stride: 0, at: 0 } : { stride: 6 * width, at: gate.vector * width };
			const gated = gate && { table: gate.table, ...place, rows: self };
			const projection = weights.projection(`${official}.${module}`);
			const added = { add: true, gate: gated };
			matmul(pass, { x: from, y: x, ...projection, m: tokens, k, n: width, ...added, label: label(module) });
		},
		/** work.normed = norm(x) * (1 + scale) + shift, two vectors of the modulation. */
		modulated(table: Tensor, { half, ...norm }: Modulated) {
			const modulation = { table, stride: 6 * width, scale: SCALE[half] * width, shift: SHIFT[half] * width };
			const op = { x, y: work.normed, tokens, width, ...norm, ...modulation, rows: self };
			modulatedNorm(pass, { ...op, label: label(`norm${half + 1}`) });
		},
		/** The work of self attention on work.qkv: rotated, stored, read with all earlier keys, into work.attended. */
		selfAttention(
			rotation: Pick<RotateAndCache, "cosSin" | "positions" | "halves">,
			{ scaleMul, scale }: { scaleMul: Tensor | undefined; scale: number },
			name: string,
		) {
			const { qkv, attended } = work;
			const common = { heads, headDim, rows: self };
			rotateAndCache(pass, { qkv, cache: kv, ...rotation, selected, scaleMul, ...common, label: label("rope") });
			const own = { key: width, value: 2 * width };
			attention(pass, {
				q: qkv,
				qStride: 3 * width,
				kv: cached,
				own,
				y: attended,
				scale,
				...common,
				label: label(name),
			});
		},
		/** y = what the queries [tokens, width] in work.qkv read of the rows' text. */
		crossAttention(rows: RowTable, y: Tensor, scale: number, name: string) {
			const op = { q: work.qkv, qStride: width, kv: cached, y, heads, headDim, scale, rows };
			attention(pass, { ...op, label: label(name) });
		},
	};
}
