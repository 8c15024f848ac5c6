/** Promises of the generator, on the tiny model: real engine, real kernels. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { policies } from "../policies/index.ts";
import type { RunStep } from "../protocol/plan.ts";
import { openModel } from "./open.ts";
import type { FinalResult, GenerateOptions, GenerateResult, LoadedModel, ScaleResult } from "./types.ts";

const gpu = await sharedGpu();
let model: LoadedModel;
beforeAll(async () => {
	model = await openModel(gpu, await openModelFolder(findModel("tiny")));
});
afterAll(() => model.destroy());

async function collect(options: Partial<GenerateOptions> = {}): Promise<GenerateResult[]> {
	const plan = options.plan ?? policies.exact.plan(model.info, {});
	return await Array.fromAsync(
		model.generate({ prompt: "a photo of a cat", seed: 7, previews: "none", ...options, plan }),
	);
}
const scales = (results: GenerateResult[]) =>
	results.filter((result): result is ScaleResult => result.kind === "scale");
const final = (results: GenerateResult[]) =>
	results.find((result): result is FinalResult => result.kind === "final") as FinalResult;

it.each(["exact", "stagevar", "stagevar-released"])(
	"%s gives the same codes and picture on every run, other ones for another seed",
	async (name) => {
		const plan = policies[name].plan(model.info, {});
		const [first, again, other] = [await collect({ plan }), await collect({ plan }), await collect({ plan, seed: 8 })];
		expect(scales(again).map(({ codes }) => codes)).toEqual(scales(first).map(({ codes }) => codes));
		expect(final(again).image).toEqual(final(first).image);
		expect(scales(other).map(({ codes }) => codes)).not.toEqual(scales(first).map(({ codes }) => codes));
		expect(scales(first)).toHaveLength(plan.steps.filter(({ kind }) => kind === "run").length);
	},
);

it.each(["exact", "stagevar"])("%s goes on from logged codes to the same picture", async (name) => {
	const plan = policies[name].plan(model.info, {});
	const whole = await collect({ plan });
	const forcedCodes = scales(whole)
		.slice(0, 2)
		.map(({ codes }) => codes);
	const resumed = await collect({ plan, forcedCodes });
	expect(scales(resumed).map(({ index, step }) => [index, step])).toEqual([
		[2, 3],
		[3, 4],
	]);
	expect(scales(resumed).map(({ codes }) => codes)).toEqual(
		scales(whole)
			.slice(2)
			.map(({ codes }) => codes),
	);
	expect(final(resumed).image).toEqual(final(whole).image);
});

it("previews are of each scale's own size, and the last one is the finished picture", async () => {
	const results = await collect({ previews: "all" });
	for (const { grid, preview } of scales(results))
		expect(preview).toMatchObject({ height: grid[0] * 16, width: grid[1] * 16 });
	expect(scales(results)[3].preview).toEqual(final(results).image);
	const two = await collect({ previews: 2 });
	expect(scales(two).map(({ preview }) => preview !== null)).toEqual([false, true, true, false]);
});

it("runs another aspect", async () => {
	const results = await collect({ plan: policies.exact.plan(model.info, { schedule: "2:1" }) });
	expect(final(results).image).toMatchObject({ height: 96, width: 48 });
});

it("stops at `until`, and between scales when aborted, with nothing left on the device", async () => {
	const before = gpu.bytes;
	expect(scales(await collect({ until: 2 }))).toHaveLength(3);
	const abort = new AbortController();
	const seen: number[] = [];
	const aborted = async () => {
		for await (const result of model.generate({
			plan: policies.exact.plan(model.info, {}),
			prompt: "a cat",
			seed: 1,
			previews: "none",
			signal: abort.signal,
		})) {
			if (result.kind === "scale") seen.push(result.index);
			if (seen.length === 2) abort.abort();
		}
	};
	await expect(aborted()).rejects.toThrow(/abort/i);
	expect(seen).toEqual([0, 1]);
	expect(gpu.bytes).toBe(before);
});

it.each([
	["of unknown words", "zxqv blorp"],
	["in other scripts", "яблоко りんご تفاحة 🍎"],
	["of blanks", "   "],
])("draws prompts %s", async (_, prompt) => {
	expect(final(await collect({ prompt, until: undefined })).image.data).toHaveLength(64 * 64 * 3);
});

it("refuses a prompt of too many tokens and codes of another size, and goes on working", async () => {
	await expect(collect({ prompt: "cat ".repeat(200) })).rejects.toThrow(/at most 32/);
	await expect(collect({ forcedCodes: [new Uint8Array(99)] })).rejects.toThrow(/99/);
	expect(scales(await collect({ until: 0 }))).toHaveLength(1);
});

it("refuses text of another size than the model's, and goes on working", async () => {
	const given = (name: string, data: Float32Array | Int32Array) => collect({ draws: new Map([[name, data]]) });
	await expect(given("text.feats", new Float32Array(65 * 256))).rejects.toThrow(
		/features are 16640 floats; this model takes up to 64 tokens of 256/,
	);
	await expect(given("text.feats", new Float32Array(100))).rejects.toThrow(/features are 100 floats/);
	await expect(given("text.ids", new Int32Array(33))).rejects.toThrow(/has 33 tokens; this model takes 32/);
	expect(scales(await collect({ until: 0 }))).toHaveLength(1);
});

it.each([
	["beyond its table of words", Int32Array.of(3, 205)],
	["below 0", Int32Array.of(-1)],
	["no whole number", Float32Array.of(2.5)],
])("refuses a token %s, and goes on working", async (_, ids) => {
	const given = (ids: Float32Array | Int32Array) => collect({ until: 0, draws: new Map([["text.ids", ids]]) });
	await expect(given(ids)).rejects.toThrow(/a token [-\d.]+; this model takes whole numbers from 0 to 204/);
	expect(scales(await given(Int32Array.of(204)))).toHaveLength(1);
});

it("refuses draws that the plan does not take, and goes on working", async () => {
	const plan = policies.stagevar.plan(model.info, {});
	const scale = plan.steps.findIndex((step) => step.kind === "run" && step.reduce.length > 0);
	const { rows, reduce } = plan.steps[scale] as RunStep;
	const [{ blocks, count }] = reduce;
	const [height, width] = model.info.schedules[plan.schedule].grids[scale];
	const [places, tokens] = [(rows === "both" ? 2 : 1) * count, height * width];
	const name = `s${scale}.${model.names.span(blocks[0])}`;
	const given = async (of: string, data: Float32Array | Int32Array) =>
		scales(await collect({ plan, until: scale, draws: new Map([[`${name}.${of}`, data]]) })).at(-1)?.codes;
	await expect(given("Q", new Float32Array(places * tokens - 1))).rejects.toThrow(
		`The draws ${name}.Q are ${places * tokens - 1} numbers; this plan takes ${places * tokens}.`,
	);
	await expect(given("rep_idx", new Int32Array(places + 1))).rejects.toThrow(`this plan takes ${places}.`);
	const kinds = `this plan takes positions, whole numbers from 0 to ${tokens - 1}.`;
	for (const beyond of [-1, tokens])
		await expect(given("rep_idx", new Int32Array(places).fill(beyond))).rejects.toThrow(kinds);
	await expect(given("rep_idx", new Float32Array(places))).rejects.toThrow(kinds);
	await expect(given("Q", new Int32Array(places * tokens))).rejects.toThrow("this plan takes floats.");
	const positions = Int32Array.from({ length: places }, (_, i) => tokens - 1 - (i % count));
	const own = scales(await collect({ plan, until: scale })).at(-1)?.codes;
	expect(await given("rep_idx", positions)).not.toEqual(own);
	// Of a scale that the plan does not reduce: nobody reads it.
	expect(scales(await collect({ plan, until: 0, draws: new Map([["s0.c0.Q", new Float32Array(1)]]) }))).toHaveLength(1);
});

it("refuses a plan that the model cannot run", async () => {
	const plan = policies.exact.plan(model.info, {});
	await expect(collect({ plan: { ...plan, steps: plan.steps.slice(1) } })).rejects.toThrow(/scales/);
});

it("keeps device memory flat over many pictures", async () => {
	await collect({ previews: "all" });
	const before = gpu.bytes;
	for (let seed = 0; seed < 10; seed++)
		await collect({ seed, previews: "all", plan: Object.values(policies)[seed % 3].plan(model.info, {}) });
	expect(gpu.bytes).toBe(before);
});
