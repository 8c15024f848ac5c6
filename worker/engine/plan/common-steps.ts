import type { StagePlan, Step } from "../../protocol/plan.ts";

/** Steps that both plans begin with, whatever is decided after them. Stages are names and change no number. */
export function commonSteps(a: StagePlan, b: StagePlan): number {
	const text = (step: Step | undefined) => JSON.stringify({ ...step, stage: null });
	const differ = a.steps.findIndex((step, scale) => text(step) !== text(b.steps[scale]));
	// The scale that a decision looks at is run by whoever decides.
	return Math.min(differ === -1 ? a.steps.length : differ, ...[a, b].map(({ decide }) => decide?.after ?? Infinity));
}
