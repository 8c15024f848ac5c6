/** What a picture's conditioning gives every scale, in tables that go by slot and guidance row. */

import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { modulatedNorm } from "../../../kernels/norm/modulated-norm.ts";
import { gatherRows } from "../../../kernels/tokens/gather.ts";
import type { RowTable } from "../../../kernels/tokens/rows.ts";
import type { Facts, Graph } from "../family.ts";
import { COND, condOf, ROWS, UNCOND } from "./guidance.ts";
import type { Weights } from "./weights.ts";

export interface ConditionTables {
	/** [slots * 2 * startTokens, width]: the input of scale 0. */
	start: Tensor;
	/** By block: [slots * 2, 6 * width], gamma1 gamma2 scale1 scale2 shift1 shift2. */
	modulation: readonly Tensor[];
	/** [slots * 2, 2 * width]: scale, shift. */
	head: Tensor;
}

export function conditionTables(
	scope: Scope,
	{ shape: { depth, width }, startTokens }: Pick<Facts, "shape" | "startTokens">,
	slots: number,
): ConditionTables {
	const rows = slots * ROWS;
	return {
		start: scope.long("start", [rows * startTokens, width]),
		modulation: Array.from({ length: depth }, (_, block) => scope.tensor(`modulation ${block}`, [rows, 6 * width])),
		head: scope.tensor("head modulation", [rows, 2 * width]),
	};
}

/** Floats of those tables for every slot. */
export const conditionFloats = ({ shape: { depth, width }, startTokens }: Pick<Facts, "shape" | "startTokens">) =>
	ROWS * width * (startTokens + 6 * depth + 2);

/** Both guidance rows of a picture on their way into those tables, and the first row of a table that both add. */
export interface BothRows {
	rows: { index: Tensor; to: number; count: number };
	first: Tensor;
}
export const bothRows = (pass: Pass, slot: number): BothRows => ({
	rows: { index: pass.table([COND, UNCOND]), to: condOf(slot, 0), count: ROWS },
	first: pass.table([0, 0]),
});

/** start = a picture's vector by guidance row, with the learned position of each token of the first scale. */
export function startRows(
	pass: Pass,
	x: Tensor,
	slot: number,
	{ startTokens, width, positions, start }: { startTokens: number; width: number; positions: Tensor; start: Tensor },
): void {
	const tokens = Array.from({ length: startTokens }, (_, token) => token);
	const index = pass.table([COND, UNCOND].flatMap((row) => tokens.map(() => row)));
	const extra = { table: positions, index: pass.table([COND, UNCOND].flatMap(() => tokens)) };
	const rows = { index, to: condOf(slot, 0) * startTokens, count: ROWS * startTokens };
	gatherRows(pass, { x, y: start, ...rows, width, extra, label: "pos_start" });
}

/** The head behind a norm that is modulated: by default LayerNorm without weights. */
export function adaLnHead(
	pass: Pass,
	weights: Weights,
	{ shape: { width }, codes }: Pick<Facts, "shape" | "codes">,
	table: Tensor,
	norm: HeadNorm,
	{ x, work, rows }: Parameters<Graph["head"]>[1],
): void {
	const { normed } = work.block;
	modulatedHeadNorm(pass, { x, y: normed, width, table, norm, rows });
	const head = weights.linear("transformer.head");
	matmul(pass, { x: normed, y: work.logits, ...head, m: rows.tokens, k: width, n: codes.logits, label: "head" });
}

interface HeadNorm {
	eps: number;
	centred: boolean;
	weight?: Tensor;
}

/** The norm before a head, modulated by a row of the head's table. */
export function modulatedHeadNorm(
	pass: Pass,
	op: { x: Tensor; y: Tensor; width: number; table: Tensor; norm: HeadNorm; rows: RowTable },
): void {
	const { x, y, width, table, norm, rows } = op;
	const modulation = { table, stride: 2 * width, scale: 0, shift: width, rows };
	modulatedNorm(pass, { x, y, tokens: rows.tokens, width, ...norm, ...modulation, label: "head norm" });
}
