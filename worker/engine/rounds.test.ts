/** Who waits for a round or a slot is served, refused or let go, whatever becomes of the others. */
import { afterEach, expect, test, vi } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { Scope } from "../../kernels/gpu/scope.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { Taps } from "../../worker/families/shared/taps.ts";
import { Weights } from "../families/shared/weights.ts";
import { residentPrompts } from "../families/text/device-encoder.ts";
import { policies } from "../policies/index.ts";
import { walk } from "./generate.ts";
import { openModel } from "./open.ts";
import { KeyValueStore } from "./round/key-value-store.ts";
import { NextScaleModel } from "./round/next-scale.ts";
import type { PictureOptions } from "./round/picture.ts";
import { Rounds } from "./rounds.ts";
import type { GenerateResult, LoadedModel } from "./types.ts";

const gpu = await sharedGpu();
afterEach(() => vi.restoreAllMocks());

const tiny = () => openModelFolder(findModel("tiny"));
const never = new AbortController().signal;
/** Of the tiny model. */
const WIDTH = 64;

/** The tiny model without what `openModel` puts around it. */
async function openTiny(slots: number) {
	const folder = await tiny();
	const { schedules } = folder.manifest;
	const weights = await Weights.load(gpu, folder);
	const scope = new Scope(gpu);
	const prompts = residentPrompts(scope, gpu, folder.facts.text?.encoder, weights);
	const graph = folder.family.graph({ ...folder, gpu, schedules, weights, slots, prompts, instructions: [] });
	const model = new NextScaleModel(gpu, graph, schedules, weights, slots, "f32", { prompts });
	return {
		model,
		rounds: new Rounds(model),
		schedule: schedules[folder.info.defaultSchedule],
		/** Of a cell of a latent. */
		numbers: folder.facts.codes.numbers,
		options: (schedule?: string): PictureOptions => ({
			plan: { ...policies.exact.plan(folder.info, {}), ...(schedule && { schedule }) },
			seed: 1,
			ids: [3, 4, 2],
			draws: new Map(),
			taps: new Taps(gpu, undefined),
		}),
		[Symbol.dispose]() {
			model[Symbol.dispose]();
			scope[Symbol.dispose]();
			weights.destroy();
		},
	};
}

test("a caller who goes while all slots are taken is let go at once, and opens nothing", async () => {
	const model: LoadedModel = await openModel(gpu, await tiny());
	const ask = (seed: number, signal?: AbortSignal) =>
		model.generate({
			plan: policies.exact.plan(model.info, {}),
			prompt: "a photo of a cat",
			seed,
			previews: "none",
			signal,
		});
	const running = ask(1);
	await running.next();
	const abort = new AbortController();
	const waiting = ask(2, abort.signal).next();
	const after = Array.fromAsync(ask(3));
	setTimeout(() => abort.abort(new Error("gone")), 50);
	await expect(waiting).rejects.toThrow("gone");
	// The one that runs still has its slot: nobody waited for it.
	expect((await running.next()).value).toMatchObject({ kind: "scale", index: 1 });
	await running.return();
	expect(await after).toHaveLength(5);
	await expect(ask(4, AbortSignal.abort(new Error("too late"))).next()).rejects.toThrow("too late");
	model.destroy();
});

test("pictures that begin together run together, scale by scale", async () => {
	using tiny = await openTiny(2);
	const { model, rounds, options } = tiny;
	const sizes: number[] = [];
	const round = model.round.bind(model);
	model.round = (requests) => {
		sizes.push(requests.length);
		return round(requests);
	};
	const { grids } = tiny.schedule;
	const made = [1, 2].map((seed) => walk(rounds, { ...options(), seed, grids, previews: "none" }));
	await Promise.all(made.map((results) => Array.fromAsync(results)));
	expect(sizes).toEqual([2, 2, 2, 2]);
});

test.for([
	["a short round has the next one behind it, and no third, before its codes are there", 256, [0, 1, "0", 2, "1", 3]],
	["a longer one does not", 0, [0, "0", 1, "1", 2, "2", 3]],
] as const)("%s", async ([, shortRound, order]) => {
	using tiny = await openTiny(1);
	const { model, options } = tiny;
	const seen: (number | string)[] = [];
	const round = model.round.bind(model);
	model.round = (requests) => {
		const { scale } = requests[0];
		seen.push(scale);
		const running = round(requests);
		running.codes.then(() => seen.push(`${scale}`));
		return running;
	};
	const { grids } = tiny.schedule;
	const rounds = new Rounds(model, shortRound);
	await Array.fromAsync(walk(rounds, { ...options(), grids, previews: "none" }));
	expect(seen.slice(0, order.length)).toEqual(order);
});

test("a first scale that is shown waits for the round that runs, not for the others' next one", async () => {
	using tiny = await openTiny(3);
	const { model, rounds, options } = tiny;
	const made: { scale: number; shown: boolean }[][] = [];
	const round = model.round.bind(model);
	model.round = (requests) => {
		made.push(requests.map(({ scale, pictures }) => ({ scale, shown: pictures.length > 0 })));
		return round(requests);
	};
	const { grids } = tiny.schedule;
	const begin = (seed: number, previews: "all" | "none") => walk(rounds, { ...options(), seed, grids, previews });
	const [one, two, three] = [begin(1, "all"), begin(2, "all"), begin(3, "none")];
	await one.next();
	await Promise.all([one, two, three].map((results) => Array.fromAsync(results)));
	const firsts = made.filter((parts) => parts.some(({ scale }) => scale === 0));
	expect(firsts.slice(0, 2)).toEqual([[{ scale: 0, shown: true }], [{ scale: 0, shown: true }]]);
	// Whose first scale nobody sees has no hurry.
	expect(firsts[2].map(({ scale }) => scale)).toEqual([expect.any(Number), 1, 0]);
	expect(firsts).toHaveLength(3);
});

test("a wrong request is refused alone, and a picture that cannot be opened gives its slot back", async () => {
	using tiny = await openTiny(1);
	const { rounds, options } = tiny;
	await expect(rounds.open(options("9:1"), never)).rejects.toThrow(TypeError);
	const picture = await rounds.open(options(), never);
	const run = (scale: number) => rounds.run({ picture, scale, sample: true, pictures: [] }, never);
	const [wrong, right] = await Promise.allSettled([run(99), run(0)]);
	expect(wrong).toMatchObject({ status: "rejected", reason: expect.any(TypeError) });
	expect(right).toMatchObject({ status: "fulfilled", value: { codes: expect.any(Uint8Array) } });
	// The loop goes on.
	expect((await run(1)).codes).toBeInstanceOf(Uint8Array);
	rounds.close(picture);
});

test("a further picture whose keys fit block by block alone is opened so, and the one before goes on", async () => {
	const model = await openModel(gpu, await tiny(), { slots: 2 });
	const plan = policies.exact.plan(model.info, {});
	const ask = (seed: number) => model.generate({ plan, prompt: "a photo of a cat", seed, previews: "none" });
	const codes = async (results: ReturnType<typeof ask>) => {
		const made: Uint8Array[] = [];
		for await (const result of results) if (result.kind === "scale") made.push(result.codes);
		return made;
	};
	const [first, second] = [await codes(ask(1)), await codes(ask(2))];
	const running = ask(1);
	await running.next();
	const slowly = vi.spyOn(KeyValueStore.prototype, "growSlowly");
	vi.spyOn(KeyValueStore.prototype, "growth").mockReturnValue([{ label: "all blocks anew", shape: [2 ** 40] }]);
	expect(await codes(ask(2))).toEqual(second);
	expect(slowly).toHaveBeenCalledOnce();
	vi.restoreAllMocks();
	expect(await codes(running)).toEqual(first.slice(1));
	model.destroy();
});

test("within a budget keys grow block by block alone, whatever room there is", async () => {
	const model = await openModel(gpu, await tiny(), { slots: 2, memory: 2 ** 30 });
	const plan = policies.exact.plan(model.info, {});
	const slowly = vi.spyOn(KeyValueStore.prototype, "growSlowly");
	const made = [1, 2].map((seed) =>
		Array.fromAsync(model.generate({ plan, prompt: "a photo of a cat", seed, previews: "none" })),
	);
	for (const results of await Promise.all(made)) expect(results).toHaveLength(5);
	expect(slowly).toHaveBeenCalledTimes(2);
	vi.restoreAllMocks();
	model.destroy();
});

test("what pictures need between rounds waits for what an opening tries out", async () => {
	using tiny = await openTiny(2);
	const { model, rounds, options } = tiny;
	const picture = await rounds.open(options(), never);
	await rounds.run({ picture, scale: 0, sample: true, pictures: [] }, never);
	const tried = Promise.withResolvers<boolean>();
	const room = vi.spyOn(gpu, "room").mockReturnValue(tried.promise);
	const refused = (label: string): never => expect.fail(`${label} is made meanwhile`);
	const makers = [
		vi.spyOn(gpu, "tensor").mockImplementation(refused),
		vi.spyOn(gpu, "long").mockImplementation(refused),
	];
	const opening = rounds.open(options(), never);
	await vi.waitFor(() => expect(room).toHaveBeenCalled());
	const taken = model.snapshot(picture, 1);
	const decoded = model.decode(new Float32Array(tiny.numbers), [1, 1], picture.taps);
	await new Promise((resolve) => setTimeout(resolve, 50));
	for (const maker of [...makers, room]) maker.mockRestore();
	tried.resolve(true);
	(await taken)[Symbol.dispose]();
	expect((await decoded).width).toBeGreaterThan(0);
	rounds.close(await opening);
	rounds.close(picture);
});

test("a picture that settles its plan while another is opened is measured after that, and goes on", async () => {
	const model = await openModel(gpu, await tiny(), { slots: 2 });
	const ask = (policy: string, seed: number) => {
		const plan = policies[policy].plan(model.info, {});
		return model.generate({ plan, prompt: "a photo of a cat", seed, previews: "none" });
	};
	const alone = await Array.fromAsync(ask("skipvar", 1));
	const before = alone.findIndex(({ kind }) => kind === "revision");
	const running = ask("skipvar", 1);
	for (let i = 0; i < before; i++) await running.next();
	const tried = Promise.withResolvers<boolean>();
	const room = vi.spyOn(gpu, "room").mockReturnValue(tried.promise);
	const tensor = vi.spyOn(gpu, "tensor").mockImplementation((label) => expect.fail(`${label} is made meanwhile`));
	const other = Array.fromAsync(ask("exact", 2));
	await vi.waitFor(() => expect(room).toHaveBeenCalled());
	const rest = Array.fromAsync(running);
	rest.catch(() => {});
	await new Promise((resolve) => setTimeout(resolve, 50));
	for (const spy of [room, tensor]) spy.mockRestore();
	tried.resolve(true);
	const codesOf = (results: GenerateResult[]) =>
		results.map((result) => (result.kind === "scale" ? result.codes : result.kind));
	expect(codesOf(await rest)).toEqual(codesOf(alone.slice(before)));
	expect(await other).toHaveLength(5);
	model.destroy();
});

test("a preview that cannot be had is its own picture's loss: who shares the round goes on", async () => {
	using tiny = await openTiny(2);
	const { rounds, options } = tiny;
	const { grids } = tiny.schedule;
	const pass = gpu.pass.bind(gpu);
	const failed: string[] = [];
	vi.spyOn(gpu, "pass").mockImplementation((label) => {
		const made = pass(label);
		if (label === "pictures of 1x1") {
			made.submit = (() => Promise.reject(new Error("no preview"))) as typeof made.submit;
			failed.push(label);
		}
		return made;
	});
	const [shown, other] = await Promise.allSettled([
		Array.fromAsync(walk(rounds, { ...options(), seed: 1, grids, previews: "all" })),
		Array.fromAsync(walk(rounds, { ...options(), seed: 2, grids, previews: "none" })),
	]);
	vi.restoreAllMocks();
	expect(shown).toMatchObject({ status: "rejected", reason: { message: "no preview" } });
	expect(other).toMatchObject({ status: "fulfilled", value: { length: 5 } });
	expect(failed).toHaveLength(1);
});

test("a scale waits for its own kernels and for no other's; whoever goes meanwhile is let go", async () => {
	using tiny = await openTiny(1);
	const { rounds, options, schedule } = tiny;
	const given = options();
	const kernels = given.plan.steps.map(() => Promise.withResolvers<void>());
	const scales = kernels.map(({ promise }) => promise);
	rounds.compiling.begin(
		new Map([[given.plan, scales]]),
		Promise.all(scales).then(() => {}),
	);
	const generation = { ...given, grids: schedule.grids, previews: "none" as const };
	const made: number[] = [];
	const leaving = new AbortController();
	const picture = (async () => {
		for await (const result of walk(rounds, { ...generation, signal: leaving.signal }))
			if (result.kind === "scale") {
				made.push(result.index);
				if (result.index === 1) leaving.abort(new Error("gone"));
				else kernels[result.index + 1].resolve();
			}
	})();
	// Those of the second scale alone start nothing, and the next picture's slot is not waited for in vain.
	kernels[1].resolve();
	await new Promise((resolve) => setTimeout(resolve, 50));
	expect(made).toEqual([]);
	kernels[0].resolve();
	await expect(picture).rejects.toThrow("gone");
	expect(made).toEqual([0, 1]);

	// A plan that nobody compiled waits for whatever is being compiled.
	const other = options();
	const whole = (async () => {
		const indices: number[] = [];
		for await (const result of walk(rounds, { ...generation, ...other }))
			if (result.kind === "scale") indices.push(result.index);
		return indices;
	})();
	await new Promise((resolve) => setTimeout(resolve, 50));
	for (const { resolve } of kernels) resolve();
	expect(await whole).toEqual(schedule.grids.map((_, i) => i));
});

test("who comes while others wait for kernels does not wait for theirs", async () => {
	using tiny = await openTiny(2);
	const { rounds, options } = tiny;
	const [waits, runs] = [options(), options()];
	const kernels = Promise.withResolvers<void>();
	const of = (promise: Promise<void>) => waits.plan.steps.map(() => promise);
	rounds.compiling.begin(
		new Map([
			[waits.plan, of(kernels.promise)],
			[runs.plan, of(Promise.resolve())],
		]),
		kernels.promise,
	);
	const [first, second] = [await rounds.open(waits, never), await rounds.open(runs, never)];
	const run = (picture: typeof first) => rounds.run({ picture, scale: 0, sample: true, pictures: [] }, never);
	const waiting = run(first);
	await new Promise((resolve) => setTimeout(resolve, 50));
	expect((await run(second)).codes).toBeInstanceOf(Uint8Array);
	kernels.resolve();
	expect((await waiting).codes).toBeInstanceOf(Uint8Array);
	for (const picture of [first, second]) rounds.close(picture);
});

test("a picture whose text is of another length than that of the one before grows keys by it alone", async () => {
	using tiny = await openTiny(2);
	const { rounds, options } = tiny;
	const open = (tokens: number) => rounds.open({ ...options(), ids: Array(tokens).fill(3) }, never);
	const [first, second] = [await open(4), await open(4)];
	const before = gpu.bytes;
	rounds.close(first);
	const third = await open(6);
	// By 12 keys a block, of both guidance rows' texts, and not by the 14 that a row has.
	expect(gpu.bytes - before).toBe(4 * 12 * 2 * WIDTH * 4);
	expect(third.keys).toEqual(Array(4).fill([14, 14, 12]));
	for (const picture of [second, third]) rounds.close(picture);
});

test("models on one device try out what there is, and take it, one after the other; loading, too", async () => {
	using one = await openTiny(1);
	using other = await openTiny(1);
	const tried = Promise.withResolvers<boolean>();
	const room = vi.spyOn(gpu, "room").mockReturnValueOnce(tried.promise).mockResolvedValue(true);
	const openings = [one, other].map(({ rounds, options }) => rounds.open(options(), never));
	const loading = openModel(gpu, await tiny());
	await vi.waitFor(() => expect(room).toHaveBeenCalled());
	await new Promise((resolve) => setTimeout(resolve, 50));
	expect(room).toHaveBeenCalledOnce();
	tried.resolve(true);
	const pictures = await Promise.all(openings);
	(await loading).destroy();
	expect(room).toHaveBeenCalledTimes(3);
	one.rounds.close(pictures[0]);
	other.rounds.close(pictures[1]);
});

test("while another model is loaded, pictures go on, and who waits to begin one may leave", async () => {
	using opened = await openTiny(2);
	const { rounds, options } = opened;
	const picture = await rounds.open(options(), never);
	const folder = await tiny();
	const came = Promise.withResolvers<void>();
	const asked = Promise.withResolvers<void>();
	const slow = {
		...folder,
		async *tensors(...args: Parameters<typeof folder.tensors>) {
			asked.resolve();
			await came.promise;
			yield* folder.tensors(...args);
		},
	};
	const loading = openModel(gpu, slow);
	await asked.promise;
	const run = (scale: number) => rounds.run({ picture, scale, sample: true, pictures: [] }, never);
	expect((await run(0)).codes).toBeInstanceOf(Uint8Array);
	const left = new AbortController();
	const leaving = rounds.open(options(), left.signal);
	const staying = rounds.open(options(), never);
	expect((await run(1)).codes).toBeInstanceOf(Uint8Array);
	left.abort(new Error("left"));
	await expect(leaving).rejects.toThrow("left");
	came.resolve();
	(await loading).destroy();
	rounds.close(await staying);
	rounds.close(picture);
});

test("rounds wait while another model tries out whether it has room, and no longer", async () => {
	using opened = await openTiny(1);
	const { model, rounds, options } = opened;
	const picture = await rounds.open(options(), never);
	const tried = Promise.withResolvers<boolean>();
	const room = vi.spyOn(gpu, "room").mockReturnValue(tried.promise);
	const round = vi.spyOn(model, "round");
	const loading = openModel(gpu, await tiny());
	await vi.waitFor(() => expect(room).toHaveBeenCalled());
	const run = rounds.run({ picture, scale: 0, sample: true, pictures: [] }, never);
	await new Promise((resolve) => setTimeout(resolve, 50));
	expect(round).not.toHaveBeenCalled();
	tried.resolve(false);
	await expect(loading).rejects.toThrow(/There is not enough memory on/);
	expect((await run).codes).toBeInstanceOf(Uint8Array);
	rounds.close(picture);
});
