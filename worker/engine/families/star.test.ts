/** What the generator promises of STAR, on the recorded model's small random weights. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { policies } from "../../policies/index.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import type { GenerateResult, LoadedModel } from "../types.ts";
import { type Ask, codes, codesAndImage, made, type Opened, openSet, sampled } from "./testing.ts";

let opened: Opened;
let model: LoadedModel;
let ask: (plan: StagePlan, seed: number, more?: Partial<Ask>) => Promise<GenerateResult[]>;
let plans: StagePlan[];
beforeAll(async () => {
	opened = await openSet("star-tiny");
	({ model } = opened);
	const [{ draws }] = opened.runs;
	ask = async (plan, seed, more) =>
		await Array.fromAsync(model.generate({ plan, seed, draws, previews: "none", ...more }));
	// The recorded method's bounds and ratios, with draws of our own.
	const rankRatio = { 4: [0.2, 0.3, 0.25], 5: [0.25, 0.6, 0.4] };
	const ratio = { 4: 0.4, 5: 0.3 };
	const calibration = {
		"1:1": {
			structureFrom: 2,
			fidelityFrom: 4,
			measured: {
				skipFrom: 5,
				guidanceTo: 3,
				earlyTau: 0.4,
				rankRatio,
				detailRatio: ratio,
				look: { after: 3, from: 4, hold: 0.5 },
				detail: [0.01, 0.9],
			},
		},
	};
	plans = Object.values(policies).map((policy) => sampled(policy.plan({ ...model.info, calibration }, {})));
});
afterAll(() => opened.close());

it("keeps few tokens block by block, at their own positions", () => {
	expect(model.info).toMatchObject({
		family: "star",
		blocks: 3,
		chunks: [
			[0, 1],
			[1, 2],
			[2, 3],
		],
		lowRank: { rope: "kept", mostTokens: 64 },
	});
	expect(model.info.classes).toBeUndefined();
});

it("plans of every kind give the same alone and together, and resumed", async () => {
	// These make a picture, the others stop at their first late scale.
	const whole = ["stagevar", "stagevar-auto"];
	const asks = plans.map((plan, seed) => ({ plan, seed, until: whole.includes(plan.policy) ? undefined : 4 }));
	const alone: GenerateResult[][] = [];
	for (const { plan, seed, until } of asks) alone.push(await ask(plan, seed, { until }));
	const stagevar = plans.findIndex(({ policy }) => policy === "stagevar");
	const [together, resumed] = await Promise.all([
		Promise.all(asks.map(({ plan, seed, until }) => ask(plan, seed, { until }))),
		ask(plans[stagevar], stagevar, { forcedCodes: codes(alone[stagevar]).slice(0, 5) }),
	]);
	expect(together.map(made)).toEqual(alone.map(made));
	expect(made(resumed)).toEqual(made(alone[stagevar]).slice(5));
});

it("branches have the pictures that their plans make alone", async () => {
	const [{ draws }] = opened.runs;
	const some = plans.filter(({ policy }) => ["exact", "stagevar", "sparsevar", "stagevar-auto"].includes(policy));
	expect(some).toHaveLength(4);
	const branches = await model.branches({ plans: some, seed: 5, draws });
	for (const [i, plan] of some.entries())
		expect([branches[i].codes, branches[i].image]).toEqual(codesAndImage(await ask(plan, 5)));
});

it("refuses text of another size, and goes on working", async () => {
	const [{ draws }] = opened.runs;
	const given = (more: Record<string, Float32Array | Int32Array>) =>
		ask(plans[0], 1, { draws: new Map([...draws, ...Object.entries(more)]) });
	const long = { "text.feats": new Float32Array(2 * 78 * 48), "text.mask": new Int32Array(2 * 78).fill(1) };
	await expect(given(long)).rejects.toThrow(
		/7488 floats with a mask of 156 tokens; this model takes up to 77 tokens of 48 by guidance row/,
	);
	await expect(given({ "text.feats": new Float32Array(2 * 7 * 48) })).rejects.toThrow(/672 floats with a mask of 16/);
	await expect(given({ "text.pool": new Float32Array(48) })).rejects.toThrow(/pooled text is 48 floats/);
	for (const missing of ["text.mask", "text.pool"]) {
		const rest = new Map([...draws].filter(([name]) => name !== missing));
		await expect(ask(plans[0], 1, { draws: rest })).rejects.toThrow(/come with their text\.mask and .* text\.pool/);
	}
	expect(codes(await ask(plans[0], 1, { until: 0 }))).toHaveLength(1);
});

it("needs text features", async () => {
	await expect(ask(plans[0], 1, { draws: new Map(), prompt: "a cat" })).rejects.toThrow(/text\.feats/);
	await expect(ask(plans[0], 1, { label: 3 })).rejects.toThrow(/draws text/);
});
