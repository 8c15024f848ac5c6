import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { modulatedNorm } from "../../../kernels/norm/modulated-norm.ts";
import type { Taps } from "../../engine/tap.ts";
import type { BlockContext, GraphShape } from "../family.ts";
import type { Weights } from "./weights.ts";

/** A job's tokens in the batch, for its taps. */
export interface BlockPart {
	taps: Taps;
	/** Prefix of tapped names: `s4`. */
	name: string;
	/** First token, guidance rows, tokens a row. */
	at: number;
	rows: number;
	length: number;
	textGuidance: number;
}

/** The steps that blocks of every family are made of. `official`: the block's name in the checkpoint. */
export function blockOps(
	pass: Pass,
	gpu: Gpu,
	weights: Weights,
	{ width }: GraphShape,
	official: string,
	{ index, x, work, self, parts }: BlockContext,
) {
	const { tokens } = self;
	const label = (name: string) => `block ${index} ${name}`;
	const linear = (module: string, from: Tensor, y: Tensor, k: number, n: number, more: { gelu?: boolean } = {}) =>
		matmul(pass, {
			x: from,
			y,
			...weights.projection(`${official}.${module}`),
			m: tokens,
			k,
			n,
			...more,
			label: label(module),
		});
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
		/** x += gate * linear(from); without `gate`, a vector of a modulation, x += linear(from). */
		addLinear(module: string, from: Tensor, k: number, gate?: { table: Tensor; vector: number }) {
			const gated = gate && { table: gate.table, stride: 6 * width, at: gate.vector * width, rows: self };
			matmul(pass, {
				x: from,
				y: x,
				...weights.projection(`${official}.${module}`),
				m: tokens,
				k,
				n: width,
				add: true,
				gate: gated,
				label: label(module),
			});
		},
		/** work.normed = LN(x) * (1 + scale) + shift, two vectors of the modulation. */
		modulated(table: Tensor, scale: number, shift: number, eps: number, name: string) {
			const modulation = { table, stride: 6 * width, scale: scale * width, shift: shift * width, rows: self };
			modulatedNorm(pass, { x, y: work.normed, tokens, width, eps, centred: true, ...modulation, label: label(name) });
		},
	};
}

/** Vectors of a block's modulation, [conds, 6 * width], for its first and its second half. */
export const GAMMA = [0, 1] as const;
export const SCALE = [2, 3] as const;
export const SHIFT = [4, 5] as const;
