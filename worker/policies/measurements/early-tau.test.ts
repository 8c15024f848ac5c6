import { expect, test } from "vitest";
import type { ModelInfo } from "../../protocol/model-info.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import { earlyTau } from "./early-tau.ts";
import type { Seen } from "./measurement.ts";

const info = { sampling: { tau: 0.6 } } as ModelInfo;

test("the early scales of a plan at cooler temperatures", () => {
	const step = { kind: "run", tau: 0.6 };
	const plan = { steps: [step, step, step, { kind: "skip" }] } as unknown as StagePlan;
	const made = earlyTau.trial.plans(plan, info, { fidelityFrom: 2 } as Seen);
	expect(made.map(({ value }) => value)).toEqual([0.6, 0.4, 0.3, 0.2]);
	expect(made[1].plan.steps).toEqual([{ ...step, tau: 0.4 }, { ...step, tau: 0.4 }, step, { kind: "skip" }]);
	expect(made[0].plan).toEqual(plan);
});

test("most right wins, the hotter of equals; untried, it is the model's own", () => {
	expect(earlyTau.trial.best([3, 2, 1], [1, 2, 2])).toBe(2);
	expect(earlyTau.trial.best([3, 2, 1], [0, 0, 0])).toBe(3);
	expect(earlyTau.trial.untried(info)).toBe(0.6);
});
