import { type StagePlan, type Step, scalesLookedAt } from "../protocol/plan.ts";

/** Steps that both plans begin with, whatever is decided after them. Stages are names and change no number. */
export function commonSteps(a: StagePlan, b: StagePlan): number {
	const text = (step: Step | undefined) => JSON.stringify({ ...step, stage: null });
	const differ = a.steps.findIndex((step, scale) => text(step) !== text(b.steps[scale]));
	// The scale that a plan looks at is run by whoever looks.
	return Math.min(
		differ === -1 ? a.steps.length : differ,
		...[a, b].flatMap((plan) => [plan.decide?.after ?? Infinity, ...scalesLookedAt(plan)]),
	);
}
