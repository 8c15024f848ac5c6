/** The text guidance (plan.ts) of the late scales that comes closest to guiding them. */
import { conditional } from "../../worker/policies/policy.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";

/** 1 is none. */
const WEIGHTS = [1, 1.25, 1.5, 2];

/** A difference that nobody sees. */
const LEAST = 1e-6;

/** The exact plan with each weight in place of guidance from a scale on. */
export function textGuidedPlans(plan: StagePlan, guidanceTo: number): { weight: number; plan: StagePlan }[] {
	return WEIGHTS.map((weight) => ({
		weight,
		plan: {
			...plan,
			steps: plan.steps.map((step, scale) =>
				step.kind === "run" && scale >= guidanceTo ? conditional(step, weight === 1 ? undefined : weight) : step,
			),
		},
	}));
}

/**
 * The weight whose pictures differ least from the guided ones; undefined where that is none. `differences`: by picture,
 * then by weight; their means are geometric, so that no picture that changes altogether outweighs the others.
 */
export function bestWeight(
	weights: readonly number[],
	differences: readonly (readonly number[])[],
): { means: number[]; best: number | undefined } {
	const means = weights.map((_, i) =>
		Math.exp(differences.reduce((sum, picture) => sum + Math.log(Math.max(LEAST, picture[i])), 0) / differences.length),
	);
	const best = weights[means.indexOf(Math.min(...means))];
	return { means, best: best === 1 ? undefined : best };
}
