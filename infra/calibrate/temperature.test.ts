import { expect, test } from "vitest";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { bestTau, temperedPlans } from "./temperature.ts";

test("the early scales of a plan at cooler temperatures", () => {
	const step = { kind: "run", tau: 0.6 };
	const plan = { steps: [step, step, step, { kind: "skip" }] } as unknown as StagePlan;
	const made = temperedPlans(plan, 0.6, 2);
	expect(made.map(({ tau }) => tau)).toEqual([0.6, 0.4, 0.3, 0.2]);
	expect(made[1].plan.steps).toEqual([{ ...step, tau: 0.4 }, { ...step, tau: 0.4 }, step, { kind: "skip" }]);
	expect(made[0].plan).toEqual(plan);
});

test("most right wins, the hotter of equals", () => {
	expect(
		bestTau(
			[3, 2, 1],
			[
				[true, true, false],
				[false, true, true],
				[false, false, true],
			],
		),
	).toBe(2);
	expect(bestTau([3, 2, 1], [[false, false, false]])).toBe(3);
});
