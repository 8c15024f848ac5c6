/**
 * Every policy on every schedule of the reference models, of every family and aspect: bounds of their own, no case of
 * theirs in the engine.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readReferenceSet } from "../../infra/verify/reference-set.ts";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { importReferenceSet } from "../../model-shards/import/reference.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { policies } from "../policies/index.ts";
import { planProblems } from "../policies/validate.ts";
import type { Calibration, ModelInfo } from "../protocol/model-info.ts";
import type { StagePlan } from "../protocol/plan.ts";
import { openModel } from "./open.ts";
import type { GenerateResult } from "./types.ts";

const gpu = await sharedGpu();
let dir: string;
beforeAll(async () => {
	dir = await mkdtemp(join(tmpdir(), "policies-"));
});
afterAll(() => rm(dir, { recursive: true }));

const reference = (set: string) => join(import.meta.dirname, "..", "..", "test", "reference", set);

/**
 * The two scales before the last are late, the second of them may be skipped: what makes a scale late is not its size.
 */
function bounds({ chunks }: ModelInfo, scales: number): Calibration {
	const fidelityFrom = scales - 3;
	const late = <T>(value: T) => ({ [scales - 3]: value, [scales - 2]: value });
	return {
		structureFrom: 1,
		fidelityFrom,
		measured: {
			skipFrom: scales - 2,
			guidanceTo: 2,
			earlyTau: 0.4,
			rankRatio: late(chunks.map(() => 0.3)),
			detailRatio: late(0.4),
			look: { after: fidelityFrom - 1, from: fidelityFrom, hold: 0.7 },
			detail: [0.05, 0.5],
		},
	};
}

// The other families' sets are in families/.
it.each(["infinity-tiny", "var-tiny"])("%s", async (set) => {
	await importReferenceSet(join(reference(set), "manifest.json"), join(dir, set));
	const model = await openModel(gpu, await openModelFolder(join(dir, set)));
	const runs = await readReferenceSet(reference(set));
	for (const [schedule, { grids }] of Object.entries(model.info.schedules)) {
		const info = { ...model.info, calibration: { [schedule]: bounds(model.info, grids.length) } };
		const run = runs.find((run) => run.schedule.join() === grids.join());
		const draws = new Map([...(run?.draws ?? [])].filter(([name]) => name.startsWith("text.")));
		const until = grids.length - 2;
		for (const policy of Object.values(policies)) {
			const plan = policy.plan(info, { schedule });
			expect(planProblems(plan, info), policy.name).toEqual([]);
			const subject = info.classes === undefined ? { prompt: "" } : { label: 1 };
			const results = await Array.fromAsync(
				model.generate({ plan, ...subject, seed: 3, draws, previews: "none", until }),
			);
			const settled = results.flatMap((result) => (result.kind === "revision" ? [result.plan] : [])).at(-1) ?? plan;
			const scales = results.flatMap((result) => (result.kind === "scale" ? [result.index] : []));
			expect([policy.name, scales]).toEqual([
				policy.name,
				settled.steps.flatMap(({ kind }, scale) => (kind === "run" && scale <= until ? [scale] : [])),
			]);
		}
	}
	model.destroy();
});

it("every policy's picture on tiny is the same alone, beside all others, and gone on with from its codes", async () => {
	const model = await openModel(gpu, await openModelFolder(findModel("tiny")), { slots: 4 });
	const ask = (plan: StagePlan, forcedCodes?: Uint8Array[]) =>
		Array.fromAsync(
			model.generate({
				plan,
				prompt: "a photo of two cats",
				seed: 5,
				previews: "none",
				...(forcedCodes && { forcedCodes }),
			}),
		);
	/** Codes of the scales, then the picture. */
	const made = (results: GenerateResult[]) =>
		results.flatMap((result) =>
			result.kind === "scale" ? [result.codes] : result.kind === "final" ? [result.image.data] : [],
		);
	const plans = Object.values(policies).map((policy) => policy.plan(model.info, {}));
	expect(plans.map(({ policy }) => policy)).toEqual(expect.arrayContaining(["switti", "skipvar-static"]));
	const alone: GenerateResult[][] = [];
	for (const plan of plans) alone.push(await ask(plan));
	const together = await Promise.all(plans.map((plan) => ask(plan)));
	expect(together.map(made)).toEqual(alone.map(made));
	for (const [i, plan] of plans.entries()) {
		const settled = alone[i].flatMap((result) => (result.kind === "revision" ? [result.plan] : [])).at(-1) ?? plan;
		const whole = made(alone[i]);
		const resumed = made(await ask(settled, whole.slice(0, 2)));
		expect([plan.policy, resumed]).toEqual([plan.policy, whole.slice(2)]);
	}
	model.destroy();
});
