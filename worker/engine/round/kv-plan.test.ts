import { expect, test } from "vitest";
import type { RunStep, StagePlan } from "../../protocol/plan.ts";
import { COND, lastScaleOf, rowsOf, storedKeys, tokensAt, UNCOND } from "./kv-plan.ts";

const step = (rows: RunStep["rows"], ...reduce: { blocks: [number, number]; count: number }[]): RunStep => ({
	kind: "run",
	stage: "fidelity",
	rows,
	guidance: 3,
	tau: 1,
	topK: 0,
	topP: 0,
	reduce: reduce as RunStep["reduce"],
});
const plan = {
	steps: [step("both"), step("both"), step("uncond", { blocks: [1, 3], count: 5 }), { kind: "skip" }],
} as unknown as StagePlan;
const TOKENS = [1, 4, 16, 64];

test("rows in the order of the batch", () => {
	expect([rowsOf(step("both")), rowsOf(step("cond")), rowsOf(step("uncond"))]).toEqual([
		[COND, UNCOND],
		[COND],
		[UNCOND],
	]);
});

test("a reduced span runs its blocks, and no others, on fewer tokens", () => {
	expect([0, 1, 2, 3].map((block) => tokensAt(plan.steps[2] as RunStep, block, 16))).toEqual([16, 5, 5, 16]);
});

test("a row is computed until its last step", () => {
	expect([lastScaleOf(plan, COND), lastScaleOf(plan, UNCOND)]).toEqual([1, 2]);
});

test("a dropped row stores no keys of later scales, reduced blocks fewer, skipped scales and the last one none", () => {
	expect(storedKeys(plan, TOKENS, 4, COND)).toEqual([1, 1, 1, 1]);
	expect(storedKeys(plan, TOKENS, 4, UNCOND)).toEqual([5, 5, 5, 5]);
	expect(storedKeys(plan, TOKENS, 4, UNCOND, true)).toEqual([21, 10, 10, 21]);
	expect(storedKeys({ ...plan, steps: [step("cond")] }, TOKENS, 2, UNCOND)).toEqual([0, 0]);
});
