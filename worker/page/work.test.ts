import { expect, it } from "vitest";
import type { StagePlan, Step } from "../protocol/plan.ts";
import { isExact, planWork, predict, predictExact, work } from "./work.ts";

const run = (rows: "both" | "cond", count?: number): Step => ({
	kind: "run",
	stage: "fidelity",
	rows,
	guidance: 3,
	tau: 1,
	topK: 0,
	topP: 0,
	reduce: count === undefined ? [] : [{ kind: "projection", blocks: [0, 4], count } as never],
});
const grids = [
	[1, 1],
	[2, 2],
	[4, 4],
];
const plan = (...steps: Step[]) => ({ steps }) as StagePlan;

it("counts tokens by rows, and of few tokens the mean over the blocks", () => {
	expect(work(run("both"), [4, 4], 8)).toBe(32);
	expect(work(run("cond", 4), [4, 4], 8)).toBe(16 * (1 - 0.5 * 0.75));
	expect(work({ kind: "skip" }, [4, 4], 8)).toBe(0);
	expect(planWork(plan(run("both"), run("both"), { kind: "skip" }), grids, 8)).toBe(10);
	expect([isExact(run("both")), isExact(run("cond")), isExact(run("both", 2))]).toEqual([true, false, false]);
});

it("puts what is not measured on the line through what is", () => {
	expect(predict([2, 8, 32], new Map())).toBeUndefined();
	expect(
		predict(
			[2, 8, 32],
			new Map([
				[0, 12],
				[1, 18],
			]),
		),
	).toEqual([12, 18, 42]);
	// A line never falls, however noisy the first scales were.
	const noisy = predict(
		[2, 8, 32],
		new Map([
			[0, 50],
			[1, 10],
		]),
	);
	expect(noisy?.[2]).toBe(30);
});

it("predicts exact's time from a picture that left something out", () => {
	const measured = new Map([
		[0, 12],
		[1, 18],
		[2, 26],
	]);
	const times = predictExact(plan(run("both"), run("both"), run("cond")), grids, 8, measured);
	expect(times).toEqual([12, 18, 42]);
});
