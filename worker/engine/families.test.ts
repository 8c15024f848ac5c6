/**
 * Promises of the generator for models of other families than the bundled ones, on small random weights: real engine,
 * real kernels.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readReferenceSet } from "../../infra/verify/reference-set.ts";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { maxError } from "../../kernels/testing.ts";
import { importReferenceSet } from "../../model-shards/import/reference.ts";
import { openModelFolder } from "../../model-shards/open.ts";
import { policies } from "../policies/index.ts";
import type { Stages } from "../protocol/model-info.ts";
import type { StagePlan } from "../protocol/plan.ts";
import { openModel } from "./open.ts";
import type { GenerateOptions, GenerateResult, LoadedModel } from "./types.ts";

type Ask = Omit<GenerateOptions, "model">;
let gpu: Gpu;
let dir: string;
beforeAll(async () => {
	gpu = await openGpu();
	dir = await mkdtemp(join(tmpdir(), "families-"));
});
afterAll(async () => {
	gpu.destroy();
	await rm(dir, { recursive: true });
});

const reference = (set: string) => join(import.meta.dirname, "..", "..", "test", "reference", set);
async function open(set: string): Promise<LoadedModel> {
	await importReferenceSet(join(reference(set), "manifest.json"), join(dir, set));
	return openModel(gpu, await openModelFolder(join(dir, set)), { slots: 3 });
}
const codes = (results: GenerateResult[]) =>
	results.flatMap((result) => (result.kind === "scale" ? [result.codes] : []));
/** Codes and pictures without the times. */
const made = (results: GenerateResult[]) =>
	results.map((result) =>
		result.kind === "scale"
			? [result.index, result.codes, result.preview]
			: result.kind === "final"
				? ["final", result.image]
				: result,
	);
const codesAndImage = (results: GenerateResult[]) => [
	codes(results),
	results.flatMap((result) => (result.kind === "final" ? [result.image] : []))[0],
];
/** The plan with the scales sampled, or changed otherwise. */
const sampled = (plan: StagePlan, topK = 0, topP = 0): StagePlan => ({
	...plan,
	steps: plan.steps.map((step) => (step.kind === "run" ? { ...step, topK, topP } : step)),
});

describe("VAR", () => {
	let model: LoadedModel;
	let ask: (label: number, seed: number, more?: Partial<Ask>) => Promise<GenerateResult[]>;
	beforeAll(async () => {
		model = await open("var-tiny");
		const plan = sampled(policies.exact.plan(model.info, {}), 40, 0.95);
		ask = async (label, seed, more) =>
			await Array.fromAsync(model.generate({ plan, label, seed, previews: "none", ...more }));
	});
	afterAll(() => model.destroy());

	it("says what it draws, and how many of them", () => {
		expect(model.info).toMatchObject({
			family: "var",
			classes: 10,
			maxPromptTokens: 0,
			bitsPerToken: 8,
			blocks: 3,
			sampling: { guidance: [1, 2.5] },
		});
	});

	it("compiles before the first picture, which compiles nothing more", async () => {
		const plans = Object.values(policies).flatMap((policy) =>
			policy.name === "exact" ? [policy.plan(model.info, {})] : [],
		);
		await model.compile(plans);
		expect(codes(await ask(3, 1, { until: 4 }))).toHaveLength(5);
	});

	it("gives the same on every run, others for another seed or class; alone, together and resumed", async () => {
		const asks = [
			[3, 1],
			[3, 2],
			[9, 1],
			[0, 5],
		] as const;
		const alone: GenerateResult[][] = [];
		// Codes alone but for the first one, whose pictures are held against each other too.
		const more = (i: number): Partial<Ask> => (i === 0 ? { previews: 1 } : { until: 3 });
		for (const [i, [label, seed]] of asks.entries()) alone.push(await ask(label, seed, more(i)));
		expect(new Set(alone.map((results) => codes(results).join()))).toHaveProperty("size", 4);
		const resume = { forcedCodes: codes(alone[0]).slice(0, 3) };
		const [together, resumed] = await Promise.all([
			Promise.all(asks.map(([label, seed], i) => ask(label, seed, more(i)))),
			ask(3, 1, { ...resume, previews: 1 }),
		]);
		expect(together.map(made)).toEqual(alone.map(made));
		expect(made(resumed)).toEqual(made(alone[0]).slice(3));
	});

	it("argmax asks no random number", async () => {
		const plan = sampled(policies.exact.plan(model.info, {}), 1);
		expect(codes(await ask(4, 1, { plan, until: 4 }))).toEqual(codes(await ask(4, 2, { plan, until: 4 })));
	});

	it("previews are of each scale's own size, and nothing stays on the device", async () => {
		await ask(1, 1, { until: 0 });
		const before = gpu.bytes;
		for (const result of await ask(2, 1, { previews: "all" })) {
			if (result.kind === "scale")
				expect(result.preview).toMatchObject({ height: result.grid[0] * 16, width: result.grid[1] * 16 });
			else if (result.kind === "final") expect(result.image).toMatchObject({ height: 96, width: 96 });
		}
		expect(gpu.bytes).toBe(before);
	});

	it.each<[string, Partial<Ask>, RegExp]>([
		["a class beyond the last", { label: 10 }, /0 to 9/],
		["half a class", { label: 0.5 }, /0 to 9/],
		["a prompt", { label: undefined, prompt: "a cat" }, /draws classes/],
		["codes of another size", { forcedCodes: [new Uint8Array(2)] }, /take 1 bytes, got 2/],
	])("refuses %s, and goes on working", async (_, more, message) => {
		await expect(ask(0, 1, more)).rejects.toThrow(message);
		expect(codes(await ask(0, 1, { until: 0 }))).toHaveLength(1);
	});

	it("decodes a latent of its own size and smaller, and refuses others", async () => {
		expect(await model.decode(new Float32Array(16 * 4 * 7), [4, 7])).toMatchObject({ height: 64, width: 112 });
		await expect(model.decode(new Float32Array(16 * 7 * 7), [7, 7])).rejects.toThrow(/larger than the model's largest/);
		await expect(model.decode(new Float32Array(16), [2, 2])).rejects.toThrow(/has 64 floats, not 16/);
	});
});

describe("HART", () => {
	let model: LoadedModel;
	let ask: (plan: StagePlan, seed: number, more?: Partial<Ask>) => Promise<GenerateResult[]>;
	let text: Map<string, Float32Array | Int32Array>;
	let plans: Record<string, StagePlan>;
	beforeAll(async () => {
		model = await open("hart-tiny");
		const [{ draws }] = await readReferenceSet(reference("hart-tiny"));
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
	afterAll(() => model.destroy());
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
		expect(plans.exact.steps.map((step) => step.kind === "run" && step.guidance)).toEqual([
			1, 2.125, 3.25, 4.375, 4.375,
		]);
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
		const before = gpu.bytes;
		expect(codes(await ask(plans.exact, 0, { until: 2 }))).not.toEqual(
			codes(await ask(plans.exact, 0, { until: 2, draws: other() })),
		);
		expect(gpu.bytes).toBe(before);
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
});

describe("STAR", () => {
	let model: LoadedModel;
	let ask: (plan: StagePlan, seed: number, more?: Partial<Ask>) => Promise<GenerateResult[]>;
	let plans: StagePlan[];
	beforeAll(async () => {
		model = await open("star-tiny");
		const [{ draws }] = await readReferenceSet(reference("star-tiny"));
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
	afterAll(() => model.destroy());

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
		const alone: GenerateResult[][] = [];
		const until = [4, undefined, 3];
		for (const [i, plan] of plans.entries()) alone.push(await ask(plan, i, { until: until[i] }));
		const [together, resumed] = await Promise.all([
			Promise.all(plans.map((plan, i) => ask(plan, i, { until: until[i] }))),
			ask(plans[1], 1, { forcedCodes: codes(alone[1]).slice(0, 5) }),
		]);
		expect(together.map(made)).toEqual(alone.map(made));
		expect(made(resumed)).toEqual(made(alone[1]).slice(5));
	});

	it("branches have the pictures that their plans make alone", async () => {
		const [{ draws }] = await readReferenceSet(reference("star-tiny"));
		const branches = await model.branches({ plans, seed: 5, draws });
		for (const [i, plan] of plans.entries())
			expect([branches[i].codes, branches[i].image]).toEqual(codesAndImage(await ask(plan, 5)));
	});

	it("needs text features", async () => {
		await expect(ask(plans[0], 1, { draws: new Map(), prompt: "a cat" })).rejects.toThrow(/text\.feats/);
		await expect(ask(plans[0], 1, { label: 3 })).rejects.toThrow(/draws text/);
	});
});

describe("Infinity with spatial patchify", () => {
	let model: LoadedModel;
	let ask: (plan: StagePlan, seed: number, more?: Partial<Ask>) => Promise<GenerateResult[]>;
	let plans: StagePlan[];
	beforeAll(async () => {
		model = await open("infinity-patchify-tiny");
		const runs = await readReferenceSet(reference("infinity-patchify-tiny"));
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
	afterAll(() => model.destroy());

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
		expect(plans.map(({ policy }) => policy)).toEqual(
			expect.arrayContaining(["exact", "stagevar", "stagevar-released"]),
		);
		// Square and upright pictures, exact ones and those of few tokens, in the same rounds.
		const asks = plans.map((plan, seed) => ({
			plan,
			seed,
			more:
				plan.policy === "exact"
					? { until: 3, previews: "all" as const }
					: { until: plan.policy === "stagevar" ? 5 : 4 },
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
});
