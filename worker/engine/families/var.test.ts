/** What the generator promises of VAR, on the recorded model's small random weights. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { SMALL_HEAD } from "../../../model-shards/testing.ts";
import { randomModel } from "../../families/testing/random-model.ts";
import { policies } from "../../policies/index.ts";
import { openModel } from "../open.ts";
import type { GenerateResult, LoadedModel } from "../types.ts";
import { type Ask, codes, made, type Opened, openSet, sampled } from "./testing.ts";

let opened: Opened;
let model: LoadedModel;
let ask: (label: number, seed: number, more?: Partial<Ask>) => Promise<GenerateResult[]>;
beforeAll(async () => {
	opened = await openSet("var-tiny");
	({ model } = opened);
	const plan = sampled(policies.exact.plan(model.info, {}), 40, 0.95);
	ask = async (label, seed, more) =>
		await Array.fromAsync(model.generate({ plan, label, seed, previews: "none", ...more }));
});
afterAll(() => opened.close());

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
	const before = opened.gpu.bytes;
	for (const result of await ask(2, 1, { previews: "all" })) {
		if (result.kind === "scale")
			expect(result.preview).toMatchObject({ height: result.grid[0] * 16, width: result.grid[1] * 16 });
		else if (result.kind === "final") expect(result.image).toMatchObject({ height: 96, width: 96 });
	}
	expect(opened.gpu.bytes).toBe(before);
});

it.each<[string, Partial<Ask>, RegExp]>([
	["a class beyond the last", { label: 10 }, /0 to 9/],
	["half a class", { label: 0.5 }, /0 to 9/],
	["a prompt", { label: undefined, prompt: "a cat" }, /draws classes/],
	["codes of another size", { forcedCodes: [new Uint8Array(2)] }, /take 1 bytes, got 2/],
	[
		"codes of more scales",
		{ forcedCodes: Array(7).fill(new Uint8Array(1)) },
		/Codes of 7 scales were given; the schedule has 6/,
	],
])("refuses %s, and goes on working", async (_, more, message) => {
	await expect(ask(0, 1, more)).rejects.toThrow(message);
	expect(codes(await ask(0, 1, { until: 0 }))).toHaveLength(1);
});

it("decodes a latent of its own size and smaller, and refuses others", async () => {
	expect(await model.decode(new Float32Array(16 * 4 * 7), [4, 7])).toMatchObject({ height: 64, width: 112 });
	await expect(model.decode(new Float32Array(16 * 7 * 7), [7, 7])).rejects.toThrow(/larger than the model's largest/);
	await expect(model.decode(new Float32Array(16), [2, 2])).rejects.toThrow(/has 64 floats, not 16/);
});

it("refuses a code that is none of a vocabulary that is no power of two, and takes its last one", async () => {
	const config = {
		depth: 1,
		width: 16,
		heads: 2,
		ffn: 32,
		classes: 3,
		adaln: "block",
		normalised: false,
		normEps: 1e-6,
		scales: 2,
		tokens: 5,
		codebook: { vocabulary: 10, channels: 4, phis: 1 },
		vae: { baseChannels: 8, multipliers: [1, 2], residualBlocks: 1, normGroups: 4, normEps: 1e-6 },
	};
	const { folder } = randomModel({ ...SMALL_HEAD, family: "var", config }, 1);
	const model = await openModel(opened.gpu, folder);
	const plan = policies.exact.plan(model.info, {});
	// Four bits a token, of one token and of four.
	const given = async (...forcedCodes: number[][]) =>
		await Array.fromAsync(
			model.generate({
				plan,
				label: 0,
				seed: 1,
				previews: "none",
				forcedCodes: forcedCodes.map((bytes) => Uint8Array.from(bytes)),
			}),
		);
	await expect(given([10])).rejects.toThrow("The codes of scale 0 name 10; this model's are from 0 to 9.");
	await expect(given([9], [0x99, 0xf9])).rejects.toThrow("The codes of scale 1 name 15; this model's are from 0 to 9.");
	expect(await given([9], [0x99, 0x99])).toHaveLength(1);
	model.destroy();
});
