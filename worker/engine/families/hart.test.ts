/** What the generator promises of HART, on the recorded model's small random weights. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { maxError } from "../../../kernels/testing.ts";
import { policies } from "../../policies/index.ts";
import type { Stages } from "../../protocol/model-info.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import type { GenerateResult, LoadedModel } from "../types.ts";
import { type Ask, codes, codesAndImage, made, type Opened, openSet, sampled } from "./testing.ts";

let opened: Opened;
let model: LoadedModel;
let ask: (plan: StagePlan, seed: number, more?: Partial<Ask>) => Promise<GenerateResult[]>;
let text: Map<string, Float32Array | Int32Array>;
let plans: Record<string, StagePlan>;
beforeAll(async () => {
	opened = await openSet("hart-tiny");
	({ model } = opened);
	const [{ draws }] = opened.runs;
	text = new Map([...draws].filter(([name]) => name.startsWith("text.")));
	ask = async (plan, seed, more) =>
		await Array.fromAsync(model.generate({ plan, seed, draws: text, previews: "none", ...more }));
	const ratio = { 3: 0.5, 4: 0.55 };
	const bounds = { structureFrom: 1, fidelityFrom: 3 };
	const held = {
		skipFrom: 4,
		guidanceTo: 2,
		earlyTau: 0.4,
		rankRatio: { 3: [0.2, 0.3, 0.25], 4: [0.25, 0.6, 0.4] },
		detailRatio: ratio,
		look: { after: 2, from: 3, hold: 0.5 },
		detail: [0.01, 0.9],
	};
	const planned = (name: string, stages: Stages = bounds, measured: object = {}) => {
		const calibration = { "1:1": { ...stages, measured: { ...held, ...measured } } };
		return sampled(policies[name].plan({ ...model.info, calibration }, {}), 40, 0.95);
	};
	plans = Object.fromEntries(Object.keys(policies).map((name) => [name, planned(name)]));
	const early = { structureFrom: 0, fidelityFrom: 1 };
	// Scale 1 restores from the text, whose last token stands for the one cell before it.
	plans.early = planned("stagevar", early, { rankRatio: { 1: [0.3, 0.3, 0.3] } });
	plans.earlyChange = planned("sparsevar", early, { detailRatio: { 1: 0.5 } });
});
afterAll(() => opened.close());
/** Another prompt of another length. */
const other = () =>
	new Map<string, Float32Array | Int32Array>([
		["text.feats", (text.get("text.feats") as Float32Array).map((v) => v * 0.5 + 0.1)],
		["text.mask", Int32Array.from({ length: 9 }, (_, token) => Number(token < 3))],
	]);

it("resolves the guidance that its last scale shares with the one before it", () => {
	expect(model.info).toMatchObject({
		family: "hart",
		blocks: 3,
		maxPromptTokens: 9,
		bitsPerToken: 8,
		sampling: { guidance: [1, 5.5], heldScales: 1 },
	});
	expect(plans.exact.steps.map((step) => step.kind === "run" && step.guidance)).toEqual([1, 2.125, 3.25, 4.375, 4.375]);
});

it("compiles before the first picture", async () => {
	await model.compile([plans.exact]);
	expect(codes(await ask(plans.exact, 1, { until: 2 }))).toHaveLength(3);
});

it("plans of every kind give the same alone and together, and resumed, text by text", async () => {
	// These make a picture, the others stop short of one.
	const whole = ["exact", "stagevar", "stagevar-auto"];
	const asks = Object.entries(plans).map(([name, plan], i): [string, StagePlan, number, Partial<Ask>] => [
		name,
		plan,
		i,
		{
			...(!whole.includes(name) && { until: 3 - Number(name.startsWith("early")) }),
			...(i % 2 === 1 && { draws: other() }),
		},
	]);
	const alone = new Map<string, GenerateResult[]>();
	for (const [name, plan, seed, more] of asks) alone.set(name, await ask(plan, seed, more));
	const resume = async (of: string, scales: number) => {
		const [name, plan, seed, more] = asks.find(([name]) => name === of) as (typeof asks)[number];
		const before = alone.get(name) as GenerateResult[];
		expect(made(await ask(plan, seed, { ...more, forcedCodes: codes(before).slice(0, scales) }))).toEqual(
			made(before).slice(scales),
		);
	};
	// The last one has every code: its residual is made again.
	const [together] = await Promise.all([
		Promise.all(asks.map(([, plan, seed, more]) => ask(plan, seed, more))),
		resume("exact", 3),
		resume("stagevar", 4),
		resume("exact", 5),
	]);
	expect(together.map(made)).toEqual([...alone.values()].map(made));
	const before = opened.gpu.bytes;
	expect(codes(await ask(plans.exact, 0, { until: 2 }))).not.toEqual(
		codes(await ask(plans.exact, 0, { until: 2, draws: other() })),
	);
	expect(opened.gpu.bytes).toBe(before);
});

it("branches have the pictures that their plans make alone", async () => {
	const some = [plans.exact, plans.stagevar, plans.sparsevar, plans["stagevar-auto"]];
	const branches = await model.branches({ plans: some, seed: 5, draws: text });
	for (const [i, plan] of some.entries())
		expect([branches[i].codes, branches[i].image]).toEqual(codesAndImage(await ask(plan, 5)));
});

const latents = async (plan: StagePlan) => {
	const taken = new Map<string, ArrayLike<number>>();
	await ask(plan, 1, {
		tap: {
			wants: (name) => /f_hat|^diff\.out|s4\..*keep/.test(name),
			take: ({ name, data }) => void taken.set(name, data),
		},
	});
	return taken;
};

it("tokens left out of the last scale get neither codes nor residual", async () => {
	const taken = await latents(plans["stagevar-auto"]);
	const [before, discrete, after, kept] = ["s3.f_hat", "s4.f_hat", "f_hat_final", "s4.blk0.keep_attn"].map((name) =>
		Array.from(taken.get(name) as Float32Array),
	);
	expect(kept.length).toBeGreaterThan(0);
	expect(kept.length).toBeLessThan(36);
	const same = (a: number[], b: number[]) =>
		Array.from({ length: 36 }, (_, cell) => cell).filter((cell) =>
			Array.from({ length: 16 }, (_, c) => c * 36 + cell).every((at) => a[at] === b[at]),
		);
	const others = Array.from({ length: 36 }, (_, cell) => cell).filter((cell) => !kept.includes(cell));
	expect(same(before, after)).toEqual(others);
	expect(same(discrete, after)).toEqual(others);
});

it("the last scale left out takes the residual with it", async () => {
	const [whole, short] = [await latents(plans.exact), await latents(plans["stagevar-released"])];
	expect(plans["stagevar-released"].steps[4]).toEqual({ kind: "skip" });
	expect(short.has("diff.out")).toBe(false);
	expect(short.get("f_hat_final")).toEqual(short.get("s3.f_hat"));
	// [channels, 36] against [tokens, channels].
	const [before, after, residual] = ["s4.f_hat", "f_hat_final", "diff.out"].map(
		(name) => whole.get(name) as Float32Array,
	);
	expect(residual).toHaveLength(2 * 36 * 16);
	expect(
		maxError(
			after,
			before.map((v, i) => v + residual[(i % 36) * 16 + Math.floor(i / 36)]),
		),
	).toBeLessThan(1e-6);
	expect(maxError(after, before)).toBeGreaterThan(0.1);
});

it("the seed's noise is all that tells pictures of the same codes apart", async () => {
	const plan = sampled(plans.exact, 1);
	const [one, again, two] = [await ask(plan, 1), await ask(plan, 1), await ask(plan, 2)];
	expect(made(again)).toEqual(made(one));
	expect(codes(two)).toEqual(codes(one));
	expect(made(two).at(-1)).not.toEqual(made(one).at(-1));
});

it("refuses text of another size, and goes on working", async () => {
	await expect(ask(plans.exact, 1, { draws: new Map(), prompt: "a cat" })).rejects.toThrow(/text\.feats/);
	await expect(ask(plans.exact, 1, { draws: new Map([["text.feats", new Float32Array(40)]]) })).rejects.toThrow(
		/40 floats with a mask of 0 tokens; this model takes 9 tokens, padded, of 40/,
	);
	expect(codes(await ask(plans.exact, 1, { until: 0 }))).toHaveLength(1);
});

it("refuses noise of another size, and takes its own", async () => {
	const given = (name: string, floats: number) =>
		ask(plans.exact, 1, { draws: new Map([...text, [name, new Float32Array(floats)]]) });
	// 36 tokens of 16 numbers, and both guidance rows of them.
	await expect(given("diff.noise_init", 36 * 16 - 1)).rejects.toThrow(
		"The draws diff.noise_init are 575 numbers; this plan takes 576.",
	);
	await expect(given("diff.step2.noise", 36 * 16)).rejects.toThrow(/diff\.step2\.noise are 576 .* takes 1152\./);
	expect(made(await given("diff.step2.noise", 2 * 36 * 16)).at(-1)).not.toEqual(made(await ask(plans.exact, 1)).at(-1));
});
