/** What fails half-way leaves nothing on the device, wherever it fails. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { OutOfMemoryError } from "../../kernels/gpu/errors.ts";
import { Gpu } from "../../kernels/gpu/gpu.ts";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { Scope } from "../../kernels/gpu/scope.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import type { Graph } from "../families/family.ts";
import type { ModelFolder } from "../families/folder.ts";
import { Taps } from "../families/shared/taps.ts";
import { Weights } from "../families/shared/weights.ts";
import { residentPrompts } from "../families/text/device-encoder.ts";
import type { PromptFeatures } from "../families/text/prompt-features.ts";
import { policies } from "../policies/index.ts";
import { NextScaleModel } from "./round/next-scale.ts";
import { Rounds } from "./rounds.ts";

const SLOTS = 2;
let gpu: Gpu;
let folder: ModelFolder;
let weights: Weights;
let text: Scope;
let prompts: PromptFeatures | undefined;
beforeAll(async () => {
	gpu = await openGpu();
	folder = await openModelFolder(findModel("tiny"));
	weights = await Weights.load(gpu, folder);
	text = new Scope(gpu);
	prompts = residentPrompts(text, gpu, folder.facts.text?.encoder, weights);
});
afterAll(() => {
	text[Symbol.dispose]();
	weights.destroy();
	gpu.destroy();
});

/** The device's own `tensor` and `long`, but the allocation number `at` of those that `work` makes is refused. */
async function refusing<T>(at: number, work: () => T | Promise<T>): Promise<T> {
	let made = 0;
	const count = (label: string) => {
		if (made++ === at) throw new OutOfMemoryError(`No room for ${label}.`);
	};
	gpu.tensor = (label, ...rest) => {
		count(label);
		return Gpu.prototype.tensor.call(gpu, label, ...rest);
	};
	gpu.long = (label, ...rest) => {
		count(label);
		return Gpu.prototype.long.call(gpu, label, ...rest);
	};
	try {
		return await work();
	} finally {
		for (const maker of ["tensor", "long"]) Reflect.deleteProperty(gpu, maker);
	}
}

/**
 * Refuses the first allocation of `work`, then the second, and so on until it succeeds. Returns that, and how often it
 * did not. `prepare`: what `work` is given each time, and takes over.
 */
async function refusingEach<P, T>(prepare: () => P, work: (given: P) => T | Promise<T>): Promise<[T, number]> {
	const held = gpu.bytes;
	for (let at = 0; ; at++) {
		const given = prepare();
		try {
			return [await refusing(at, () => work(given)), at];
		} catch (error) {
			expect(String(error)).toMatch(/^OutOfMemoryError: No room for/);
			expect(gpu.bytes, String(error)).toBe(held);
		}
	}
}

const graph = () =>
	folder.family.graph({
		...folder,
		gpu,
		schedules: folder.manifest.schedules,
		weights,
		slots: SLOTS,
		prompts,
		instructions: [],
	});
const open = (of: Graph) => new NextScaleModel(gpu, of, folder.manifest.schedules, weights, SLOTS, "f32");

test("a model that is refused frees its graph and what there was of it", async () => {
	const before = gpu.bytes;
	const [model, refused] = await refusingEach(graph, open);
	// Keys and values of four blocks, the latents, and those of the picture decoder.
	expect(refused).toBeGreaterThan(10);
	model[Symbol.dispose]();
	expect(gpu.bytes).toBe(before);
});

test("a round whose recording ends half-way leaves nothing of its own", async () => {
	using model = open(graph());
	const rounds = new Rounds(model);
	const never = new AbortController().signal;
	const name = "s0.blk1.ffn_out";
	const picture = await rounds.open(
		{
			plan: policies.exact.plan(folder.info, {}),
			seed: 1,
			ids: [3, 4, 2],
			draws: new Map(),
			taps: new Taps(gpu, { wants: (wanted) => wanted === name, take() {} }),
		},
		never,
	);
	const before = gpu.bytes;
	const run = () => rounds.run({ picture, scale: 0, sample: true, pictures: [] }, never);
	// What the module gives is there by then, and the copy of it is refused.
	await expect(refusing(1, run)).rejects.toThrow(`No room for tap ${name}.`);
	expect(gpu.bytes).toBe(before);
	rounds.close(picture);
});

test("a picture, a snapshot and a larger picture that are refused leave all as it was", async () => {
	using model = open(graph());
	const rounds = new Rounds(model);
	const nothing = () => {};
	const never = new AbortController().signal;
	const openPicture = (schedule: string) =>
		rounds.open(
			{
				plan: policies.exact.plan(folder.info, { schedule }),
				seed: 1,
				ids: [3, 4, 2],
				draws: new Map([["s9.c9.Q", new Float32Array(64)]]),
				taps: new Taps(gpu, undefined),
			},
			never,
		);
	const [first, refused] = await refusingEach(nothing, () => openPicture("1:1"));
	expect(refused).toBeGreaterThan(20);
	const run = (scale: number) => rounds.run({ picture: first, scale, sample: true, pictures: [] }, never);
	await run(0);
	const [snapshot, snapshots] = await refusingEach(nothing, () => model.snapshot(first, 1));
	expect(snapshots).toBe(2 * folder.info.blocks + 1);
	snapshot[Symbol.dispose]();
	const [second, larger] = await refusingEach(nothing, () => openPicture("2:1"));
	expect(larger).toBeGreaterThan(20);
	expect((await run(1)).codes).toBeInstanceOf(Uint8Array);
	rounds.close(first);
	rounds.close(second);
});
