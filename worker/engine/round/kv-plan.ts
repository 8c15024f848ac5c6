import { rowsOf } from "../../families/shared/guidance.ts";
import type { RunStep, StagePlan } from "../../protocol/plan.ts";

export { COND, condOf, ROWS, rowsOf, UNCOND } from "../../families/shared/guidance.ts";

/** Tokens a block runs on at a step of `tokens` tokens: fewer in a reduced span. */
export const tokensAt = ({ reduce }: RunStep, block: number, tokens: number): number =>
	reduce.find(({ blocks }) => blocks[0] <= block && block < blocks[1])?.count ?? tokens;

/** The last scale that computes a guidance row; its keys of that scale are the last that are needed. -1: none does. */
export const lastScaleOf = ({ steps }: StagePlan, row: number): number =>
	steps.findLastIndex((step) => step.kind === "run" && rowsOf(step).includes(row));

/**
 * Keys that a guidance row stores over a whole plan, by block: those of every scale with a later one that computes the
 * row. A scale's own keys are read where they are made. `tokens`: of every scale; `keepLast` stores those of the last
 * scale too, to be looked at.
 */
export function storedKeys(
	plan: StagePlan,
	tokens: readonly number[],
	depth: number,
	row: number,
	keepLast = false,
): number[] {
	const end = lastScaleOf(plan, row) + Number(keepLast);
	return Array.from({ length: depth }, (_, block) =>
		plan.steps
			.slice(0, Math.max(0, end))
			.reduce(
				(sum, step, scale) =>
					step.kind === "run" && rowsOf(step).includes(row) ? sum + tokensAt(step, block, tokens[scale]) : sum,
				0,
			),
	);
}
