/**
 * A paper that nobody here has heard of: a policy in a file of its own, with a need of its own. Files that were stored
 * before it stay valid, calibrate finds what it needs, and the engine runs its plans.
 */
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { POLICIES_FILE, policiesText } from "../../model-shards/format/policies.ts";
import { heldPolicies } from "../../model-shards/held-policies.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { openModel } from "../../worker/engine/open.ts";
import type { LoadedModel } from "../../worker/engine/types.ts";
import { PlanError, policies } from "../../worker/policies/index.ts";
import { beyond, type Observed } from "../../worker/policies/measurements/measurement.ts";
import { conditional, definePolicy } from "../../worker/policies/policy.ts";
import { planProblems } from "../../worker/policies/validate.ts";
import { calibrationOf, measurementsOf } from "./measure.ts";
import { observe } from "./observe.ts";
import { seenOf } from "./seen.ts";

/** The scale after the one with the most detail. */
const calmFrom: Observed<number> = {
	schema: z.int().min(1),
	problems: (value, { scales }) => beyond(value, scales),
	measure({ means }) {
		const details = means.map(({ detail }) => detail);
		return details.indexOf(Math.max(...details)) + 1;
	},
};
const calm = definePolicy(
	{ name: "calm", title: "One row, and cooler, once the detail is there", paper: "made up", needs: { calmFrom } },
	({ grids, full }, { calmFrom }) => ({
		steps: grids.map((_, scale) => (scale < calmFrom ? full(scale) : { ...conditional(full(scale)), tau: 0.1 })),
	}),
);
const others = Object.values(policies);

let dir: string;
const gpu = await sharedGpu();
let model: LoadedModel;
beforeAll(async () => {
	dir = await mkdtemp(join(tmpdir(), "firstlight-paper-"));
	await cp(findModel("tiny"), dir, { recursive: true });
	model = await openModel(gpu, await openModelFolder(dir));
});
afterAll(async () => {
	model.destroy();
	await rm(dir, { recursive: true });
});
const path = () => join(dir, POLICIES_FILE);

it("what was stored before it stays valid, and it says what it misses and what to run", async () => {
	const { info } = await openModelFolder(dir);
	expect(() => calm.plan(info, {})).toThrow(
		new PlanError(
			'Policy calm needs calmFrom, which was not measured for schedule "1:1" of model tiny. ' +
				"Run npx firstlight calibrate --model tiny --schedule 1:1, or use policy exact.",
		),
	);
	for (const policy of others) policy.plan(info, {});
});

it("its need is measured beside the others', stored, and planned by; the plan runs", async () => {
	const { info } = model;
	const { digest } = info;
	const exact = policies.exact.plan(info, {});
	const prompt = "a photo of a cat";
	const seen = seenOf([await observe(model, exact, { prompt, seed: 1, ranks: true })]);
	const before = await heldPolicies(path(), digest);
	const calibration = await calibrationOf([...others, calm], seen, undefined, async (_, { trial }) =>
		trial.untried(info),
	);
	expect(Object.keys(calibration.measured)).toContain("calmFrom");
	await writeFile(path(), policiesText({ ...before, calibration: { ...before.calibration, "1:1": calibration } }));

	const stored = (await openModelFolder(dir)).info;
	const plan = calm.plan(stored, {});
	expect(planProblems(plan, stored)).toEqual([]);
	const results = await Array.fromAsync(model.generate({ plan, prompt, seed: 1, previews: "none" }));
	expect(results.filter(({ kind }) => kind === "scale")).toHaveLength(plan.steps.length);
	// In noise nothing settles, so there is nothing that skipvar could decide.
	for (const policy of others.filter(({ name }) => name !== "skipvar"))
		expect(planProblems(policy.plan(stored, {}), stored)).toEqual([]);

	// A release without it carries its entry along, through files and calibrations.
	const again = await calibrationOf(others, seen, stored.calibration["1:1"], async () => undefined);
	expect(again.measured.calmFrom).toBe(calibration.measured.calmFrom);
	const held = await heldPolicies(path(), digest);
	expect(JSON.parse(policiesText(held))).toEqual(JSON.parse(await readFile(path(), "utf8")));
});

it("a file of version 1 means what it meant", async () => {
	const written = await readFile(join(findModel("tiny"), POLICIES_FILE), "utf8");
	await writeFile(path(), written);
	const { info } = await openModelFolder(dir);
	const { "1:1": held } = info.calibration;
	const { structureFrom, fidelityFrom, measured } = held;
	const trade = { score: 0.5, delta: -0.1, speedup: 2 };
	const old = {
		format: "firstlight-policies",
		version: 1,
		model: info.digest,
		calibration: { "1:1": { structureFrom, fidelityFrom, ...measured } },
		trades: { exact: trade, "stagevar-skip": trade },
	};
	await writeFile(path(), JSON.stringify(old));
	const opened = (await openModelFolder(dir)).info;
	expect(opened.calibration).toEqual(info.calibration);
	expect(opened.trades).toEqual({ exact: trade, "stagevar-released": trade });
	for (const policy of others) expect(policy.plan(opened, {})).toEqual(policy.plan(info, {}));
});

it("one name for two needs is refused", () => {
	const { problems, measure } = calmFrom;
	const twin = definePolicy(
		{ name: "twin", title: "Another", needs: { calmFrom: { schema: z.int(), problems, measure } } },
		({ grids, full }) => ({ steps: grids.map((_, scale) => full(scale)) }),
	);
	expect(() => measurementsOf([calm, twin])).toThrow(/calm and twin need different things called calmFrom/);
	expect([...measurementsOf(others).keys()].toSorted()).toEqual([
		"detail",
		"detailRatio",
		"earlyTau",
		"guidanceTo",
		"look",
		"rankRatio",
		"skipFrom",
		"textGuidance",
	]);
});
