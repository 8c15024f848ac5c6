import { expect, it } from "vitest";
import type { Reduction, RunStep, StagePlan, Step } from "../protocol/plan.ts";
import { costOf, type Extent } from "./cost.ts";
import { exact } from "./exact.ts";
import { conditional } from "./policy.ts";
import { stagevar } from "./stagevar.ts";
import { info, measured } from "./testing/trades.ts";

/** Of 1, 4, 9 and 16 tokens, both rows. */
const whole = exact.plan(info, {});
const changed = (changes: Record<number, Step>): StagePlan => ({
	...whole,
	policy: "custom",
	steps: whole.steps.map((step, scale) => changes[scale] ?? step),
});
const run = (scale: number) => whole.steps[scale] as RunStep;
/** Two of four blocks on a quarter of the tokens. */
const halved: RunStep = { ...run(3), reduce: [{ blocks: [0, 2], count: 4 } as unknown as Reduction] };

it.each<[string, StagePlan, Extent | undefined, number]>([
	["all of it", whole, undefined, 60],
	["a sketch", whole, { until: 1 }, 10],
	["what is left after scales of another's", whole, { from: 2 }, 50],
	["one scale in the middle", whole, { from: 2, until: 2 }, 18],
	["one row from a scale on", changed({ 2: conditional(run(2)), 3: conditional(run(3)) }), undefined, 35],
	["a scale left out", changed({ 3: { kind: "skip" } }), undefined, 28],
	["blocks on fewer tokens", changed({ 3: halved }), undefined, 28 + 32 * (1 - 0.5 * 0.75)],
])("is counted in tokens and rows: %s", (_, plan, extent, cost) => {
	expect(costOf(info, plan, extent)).toBeCloseTo(cost, 9);
});

it("is what was measured, where a whole picture by a policy was", () => {
	const model = measured({ stagevar: [-0.1, 3] });
	const plan = stagevar.plan(model, {});
	expect(costOf(model, plan)).toBeCloseTo(20, 9);
	expect(costOf(model, plan, { until: 1 })).toBe(costOf(info, plan, { until: 1 }));
	expect(costOf(model, { ...plan, policy: "custom" })).toBe(costOf(info, plan));
});
