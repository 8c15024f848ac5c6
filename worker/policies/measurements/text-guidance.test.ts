import { expect, test } from "vitest";
import type { ModelInfo } from "../../protocol/model-info.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import type { Seen } from "./measurement.ts";
import { textGuidance } from "./text-guidance.ts";

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
const guided = { guidesByText: true } as ModelInfo;
/** Guidance is needed up to the second scale. */
const seen = { means: [{ unguided: 1 }, { unguided: 0.1 }, { unguided: 0 }] } as unknown as Seen;

test("each weight takes the place of guidance from the scale on; the first one is none", () => {
	const steps = textGuidance.trial.plans(exact, guided, seen).map(({ value, plan }) => [value, plan.steps]);
	const late = { ...step, rows: "cond", guidance: 1 };
	expect(steps.slice(0, 2)).toEqual([
		[1, [step, step, late]],
		[1.25, [step, step, { ...late, textGuidance: 1.25 }]],
	]);
});

test("nothing is tried on a model that is not guided by its text, or needs guidance to the end", () => {
	expect(textGuidance.trial.plans(exact, {} as ModelInfo, seen)).toEqual([]);
	const everywhere = { means: seen.means.map(() => ({ unguided: 1 })) } as unknown as Seen;
	expect(textGuidance.trial.plans(exact, guided, everywhere)).toEqual([]);
	expect(textGuidance.trial.untried(guided)).toBeUndefined();
});

test("the best weight differs least, and is nothing where none does", () => {
	expect(textGuidance.trial.best([1, 1.5, 2], [1, 0.4, 2])).toBe(1.5);
	expect(textGuidance.trial.best([1, 1.5], [1e-6, 1])).toBeUndefined();
	expect(textGuidance.trial.best([1, 1.5], [1, 1])).toBeUndefined();
});
