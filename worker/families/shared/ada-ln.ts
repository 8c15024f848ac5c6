/** What a picture's conditioning gives every scale, in tables that go by slot and guidance row. */

import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { matmul } from "../../../kernels/matmul/matmul.ts";
import { modulatedNorm } from "../../../kernels/norm/modulated-norm.ts";
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
		start: scope.tensor("start", [rows * startTokens, width]),
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

/** The head behind a norm that is modulated: by default LayerNorm without weights. */
export function adaLnHead(
	pass: Pass,
	weights: Weights,
	{ shape: { width }, codes }: Pick<Facts, "shape" | "codes">,
	table: Tensor,
	norm: { eps: number; centred: boolean; weight?: Tensor },
	{ x, work, rows }: Parameters<Graph["head"]>[1],
): void {
	const { normed } = work.block;
	const { tokens } = rows;
	const modulation = { table, stride: 2 * width, scale: 0, shift: width, rows };
	modulatedNorm(pass, { x, y: normed, tokens, width, ...norm, ...modulation, label: "head norm" });
	const head = weights.linear("transformer.head");
	matmul(pass, { x: normed, y: work.logits, ...head, m: tokens, k: width, n: codes.logits, label: "head" });
}
