/** Branches on the tiny model: each is what its plan makes alone. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { commonSteps } from "../policies/common-steps.ts";
import { policies } from "../policies/index.ts";
import type { RunStep, StagePlan, Step } from "../protocol/plan.ts";
import type { Branch } from "./branches.ts";
import { openModel } from "./open.ts";
import type { LoadedModel } from "./types.ts";

const gpu = await sharedGpu();
let model: LoadedModel;
let exact: StagePlan;
beforeAll(async () => {
	model = await openModel(gpu, await openModelFolder(findModel("tiny")), { slots: 3 });
	exact = policies.exact.plan(model.info, {});
});
afterAll(() => model.destroy());

const COND = { rows: "cond" } as const;
const subject = { prompt: "a photo of a cat", seed: 7 };
async function alone(plan: StagePlan): Promise<Branch> {
	const codes: Uint8Array[] = [];
	let settled = plan;
	for await (const result of model.generate({ ...subject, plan, previews: "none" })) {
		if (result.kind === "final") return { plan: settled, codes, image: result.image };
		if (result.kind === "scale") codes.push(result.codes);
		else settled = result.plan;
	}
	throw new Error("no picture");
}
const changed = (policy: string, steps: Record<number, Partial<RunStep> | { kind: "skip" }>): StagePlan => ({
	...exact,
	policy,
	steps: exact.steps.map(
		(step, scale) =>
			(scale in steps
				? steps[scale].kind === "skip"
					? { kind: "skip" }
					: { ...step, ...steps[scale] }
				: step) as Step,
	),
});

it("makes every plan's picture bit for bit, wherever it leaves the first, and leaves nothing behind", async () => {
	const last = exact.steps.length - 1;
	const plans = [
		exact,
		...Object.values(policies).map((policy) => policy.plan(model.info, {})),
		changed("short", { [last]: { kind: "skip" } }),
		changed("shorter", { [last - 1]: { kind: "skip" }, [last]: { kind: "skip" } }),
		changed("conditional", { [last - 1]: { rows: "cond" }, [last]: { rows: "cond" } }),
		changed("other from the start", { 0: { tau: 2 } }),
		changed("kept from before", {
			[last]: {
				reduce: [
					{
						blocks: [0, model.info.blocks],
						each: "sublayer",
						count: 4,
						take: { gather: "mean-distance" },
						rope: "kept",
						write: "kept",
						rest: { from: last - 1, resize: "area", of: "change" },
					},
				],
			},
		}),
	];
	const expected: Branch[] = [];
	for (const plan of plans) expected.push(await alone(plan));
	// Which branches meet in a round hangs on time: the stores are first grown by the largest rounds of every plan.
	for (const plan of plans) await Promise.all([plan, plan, plan].map(alone));
	await model.branches({ plans, ...subject });
	const before = gpu.bytes;
	const made = await model.branches({ plans, ...subject });
	for (const [i, { policy }] of plans.entries()) expect({ policy, ...made[i] }).toEqual({ policy, ...expected[i] });
	expect(gpu.bytes).toBe(before);
});

const last = () => exact.steps.length - 1;
/** Its last scale is on some of its tokens, by the picture after an earlier one. */
const looking = () =>
	changed("looking", {
		[last()]: {
			reduce: [
				{
					blocks: [0, model.info.blocks],
					each: "span",
					count: 4,
					take: { gather: { picture: 1 } },
					rope: "kept",
					write: "kept",
					rest: "skip",
				},
			],
		},
	});
it.each<[string, () => StagePlan]>([
	["ends earlier", () => changed("short", { [last()]: { kind: "skip" } })],
	["ends much earlier", () => changed("short", { [last() - 1]: { kind: "skip" }, [last()]: { kind: "skip" } })],
	["narrows earlier", () => changed("narrow", { [last() - 1]: { rows: "cond" }, [last()]: { rows: "cond" } })],
	["has one row from the start", () => changed("one row", Object.fromEntries(exact.steps.map((_, i) => [i, COND])))],
	["looks at a picture on the way", looking],
])("makes every plan's picture where the first one %s", async (_, first) => {
	const plans = [first(), exact, looking(), policies.skipvar.plan(model.info, {})];
	const made = await model.branches({ plans, ...subject });
	for (const [i, plan] of plans.entries()) expect({ i, ...made[i] }).toEqual({ i, ...(await alone(plan)) });
});

it("ends when aborted, with nothing left on the device", async () => {
	const plans = [exact, policies.stagevar.plan(model.info, {})];
	await model.branches({ plans, ...subject });
	const before = gpu.bytes;
	const abort = new AbortController();
	const made = model.branches({ plans, ...subject, signal: abort.signal });
	setTimeout(() => abort.abort(), 1);
	await expect(made).rejects.toThrow(/abort/i);
	expect(gpu.bytes).toBe(before);
	expect((await model.branches({ plans, ...subject }))[0]).toEqual(await alone(exact));
});

it("refuses plans of different schedules", async () => {
	await expect(
		model.branches({ plans: [exact, policies.exact.plan(model.info, { schedule: "2:1" })], ...subject }),
	).rejects.toThrow(/1:1 and 2:1/);
});

it("counts the steps that two plans begin with, whatever their stages are called", () => {
	const other = changed("other", { 2: { tau: 0.9 } });
	expect([
		commonSteps(exact, exact),
		commonSteps(exact, other),
		commonSteps(exact, changed("named", { 1: { stage: "fidelity" } })),
	]).toEqual([exact.steps.length, 2, exact.steps.length]);
});
