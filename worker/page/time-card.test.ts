import { expect, it } from "vitest";
import type { StagePlan, Step } from "../protocol/plan.ts";
import { newRun } from "./run.ts";
import { barOf } from "./time-card.ts";

const step = { kind: "run", stage: "semantic", rows: "both", reduce: [] } as unknown as Step;

it("times are told once one is measured, and not before", () => {
	const run = newRun({ prompt: "a cat", seed: "7", policy: "exact", format: "png" });
	run.plan = { steps: [step, step] } as StagePlan;
	run.grids = [
		[1, 1],
		[2, 2],
	];
	const before = barOf(run, 8);
	expect([before.timed, before.total]).toEqual([false, 2 + 8]);
	run.frames = [{ index: 0, grid: [1, 1], stage: "semantic", milliseconds: 30, blob: null }];
	const after = barOf(run, 8);
	expect([after.timed, after.total]).toEqual([true, 60]);
});
