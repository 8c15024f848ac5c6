import { expect, test } from "vitest";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { bestWeight, textGuidedPlans } from "./text-guidance.ts";

const step = {
	kind: "run" as const,
	stage: "semantic" as const,
	rows: "both" as const,
	guidance: 3,
	tau: 1,
	topK: 0,
	topP: 0,
	reduce: [],
};
const exact: StagePlan = {
	version: 1,
	policy: "exact",
	model: `sha256:${"ab".repeat(32)}`,
	schedule: "1:1",
	steps: [step, step, step],
};

test("each weight takes the place of guidance from the scale on; the first one is none", () => {
	const steps = textGuidedPlans(exact, 2).map(({ weight, plan }) => [weight, plan.steps]);
	const late = { ...step, rows: "cond", guidance: 1 };
	expect(steps.slice(0, 2)).toEqual([
		[1, [step, step, late]],
		[1.25, [step, step, { ...late, textGuidance: 1.25 }]],
	]);
});

test("the best weight differs least over all pictures, and is nothing where none does", () => {
	const { means, best } = bestWeight(
		[1, 1.5, 2],
		[
			[1, 0.04, 4],
			[1, 4, 1],
		],
	);
	expect([means.map((mean) => Number(mean.toFixed(6))), best]).toEqual([[1, 0.4, 2], 1.5]);
	expect(bestWeight([1, 1.5], [[0, 1]]).best).toBeUndefined();
	expect(bestWeight([1, 1.5], [[1, 1]]).best).toBeUndefined();
});
