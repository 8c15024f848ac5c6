/** What the generator promises of Infinity with spatial patchify, on the recorded model's small random weights. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { maxError } from "../../../kernels/testing.ts";
import { policies } from "../../policies/index.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import type { GenerateResult, LoadedModel } from "../types.ts";
import { type Ask, codes, made, type Opened, openSet, sampled } from "./testing.ts";

let opened: Opened;
let model: LoadedModel;
let ask: (plan: StagePlan, seed: number, more?: Partial<Ask>) => Promise<GenerateResult[]>;
let plans: StagePlan[];
beforeAll(async () => {
	opened = await openSet("infinity-patchify-tiny");
	({ model } = opened);
	const { runs } = opened;
	// A prompt of 7 tokens for square pictures, one of 3 for upright ones.
	ask = async (plan, seed, more) =>
		await Array.fromAsync(
			model.generate({ plan, seed, draws: runs[plan.schedule === "1:1" ? 0 : 1].draws, previews: "none", ...more }),
		);
	const ratio = { 4: 0.3, 5: 0.2, 6: 0.1 };
	const rankRatio = { 4: [0.2, 0.3], 5: [0.25, 0.1], 6: [0.1, 0.1] };
	const calibration = {
		"1:1": {
			structureFrom: 2,
			fidelityFrom: 4,
			measured: {
				skipFrom: 6,
				guidanceTo: 3,
				textGuidance: 1.5,
				earlyTau: 0.4,
				rankRatio,
				detailRatio: ratio,
				look: { after: 3, from: 4, hold: 0.5 },
				detail: [0.01, 0.9],
			},
		},
	};
	const info = { ...model.info, calibration };
	plans = [
		...Object.values(policies).map((policy) => policy.plan(info, { schedule: "1:1" })),
		policies.exact.plan(info, { schedule: "3:2" }),
	].map((plan) => sampled(plan, 0, 0.9));
});
afterAll(() => opened.close());

it("a token is four times the tokenizer's bits, and sixteen pixels wide", async () => {
	expect(model.info).toMatchObject({
		family: "infinity",
		bitsPerToken: 32,
		chunks: [
			[0, 1],
			[1, 2],
		],
	});
	const results = await ask(plans[plans.length - 1], 1, { previews: "all", until: 3 });
	expect(results.map((result) => result.kind === "scale" && result.preview)).toMatchObject(
		[
			[16, 16],
			[32, 32],
			[48, 32],
			[96, 64],
		].map(([height, width]) => ({ height, width })),
	);
});

it("plans of every kind and aspect give the same alone and together, and resumed", async () => {
	expect(plans.map(({ policy }) => policy)).toEqual(expect.arrayContaining(["exact", "stagevar", "stagevar-released"]));
	// Square and upright pictures, exact ones and those of few tokens, in the same rounds.
	const asks = plans.map((plan, seed) => ({
		plan,
		seed,
		more:
			plan.policy === "exact" ? { until: 3, previews: "all" as const } : { until: plan.policy === "stagevar" ? 5 : 4 },
	}));
	const alone: GenerateResult[][] = [];
	for (const { plan, seed, more } of asks) alone.push(await ask(plan, seed, more));
	const stagevar = plans.findIndex(({ policy }) => policy === "stagevar");
	const [together, resumed] = await Promise.all([
		Promise.all(asks.map(({ plan, seed, more }) => ask(plan, seed, more))),
		ask(plans[stagevar], stagevar, { forcedCodes: codes(alone[stagevar]).slice(0, 5), until: 5 }),
	]);
	expect(together.map(made)).toEqual(alone.map(made));
	expect(made(resumed)).toEqual(made(alone[stagevar]).slice(5));
});

it("text guidance of 1 changes no bit, and others do, whoever shares the batch", async () => {
	const plan = plans.find(({ policy }) => policy === "stagevar-auto") as StagePlan;
	const guided = (textGuidance?: number): StagePlan => ({
		...plan,
		steps: plan.steps.map((step) => (step.kind === "run" && step.rows === "cond" ? { ...step, textGuidance } : step)),
	});
	expect(JSON.stringify(plan)).toBe(JSON.stringify(guided(1.5)));
	const alone = await ask(guided(), 1, { until: 4 });
	const [one, more] = await Promise.all([ask(guided(1), 1, { until: 4 }), ask(guided(3), 1, { until: 4 })]);
	expect(codes(one)).toEqual(codes(alone));
	expect(codes(more).slice(0, 3)).toEqual(codes(alone).slice(0, 3));
	expect(codes(more)[3]).not.toEqual(codes(alone)[3]);
	// Of the first block, whose queries are the same whatever the weight: on the line through no prompt's and the
	// prompt's, as far out as it says.
	const text = async (textGuidance?: number) => {
		let out: Float32Array | undefined;
		await ask(guided(textGuidance), 1, {
			until: 3,
			tap: { wants: (name) => name === "s3.blk0.ca_out", take: ({ data }) => void (out = Float32Array.from(data)) },
		});
		return out as Float32Array;
	};
	const [none, whole, far] = [await text(0), await text(), await text(3)];
	expect(
		maxError(
			far,
			whole.map((v, i) => v + 2 * (v - none[i])),
		),
	).toBeLessThan(1e-5);
	expect(maxError(far, whole)).toBeGreaterThan(1e-3);
});

it("a plan that looks at the picture sees the same whether it is shown or not", async () => {
	const looking = plans.filter(
		({ decide, steps }) =>
			decide?.measure === "picture" ||
			steps.some(
				(step) =>
					step.kind === "run" && step.reduce.some(({ take }) => "gather" in take && typeof take.gather === "object"),
			),
	);
	expect(looking.length).toBeGreaterThan(0);
	const [shown, hidden] = [
		await ask(looking[0], 1, { until: 5, previews: "all" }),
		await ask(looking[0], 1, { until: 5 }),
	];
	expect(codes(shown)).toEqual(codes(hidden));
});
