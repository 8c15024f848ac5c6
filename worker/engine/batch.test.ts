/** Promises of batching, on the tiny model: what a picture gets does not depend on who shares its rounds. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { policies } from "../policies/index.ts";
import { openModel } from "./open.ts";
import type { GenerateOptions, GenerateResult, LoadedModel } from "./types.ts";

const SLOTS = 4;
const gpu = await sharedGpu();
let model: LoadedModel;
beforeAll(async () => {
	model = await openModel(gpu, await openModelFolder(findModel("tiny")), { slots: SLOTS });
});
afterAll(() => model.destroy());

type Ask = Omit<GenerateOptions, "model">;
const ask = (policy: string, seed: number, more: Partial<Ask> & { schedule?: string } = {}): Ask => {
	const { schedule, ...options } = more;
	return {
		plan: policies[policy].plan(model.info, { schedule }),
		prompt: `a photo of ${seed} cats`,
		seed,
		previews: "all",
		...options,
	};
};
/** Codes and pictures without the times. */
const made = (results: GenerateResult[]) =>
	results.map((result) =>
		result.kind === "scale"
			? [result.index, result.codes, result.preview]
			: result.kind === "final"
				? ["final", result.image]
				: result,
	);
const run = async (asked: Ask) => made(await Array.fromAsync(model.generate(asked)));

it("pictures of different plans, prompts, schedules and starts get what they get alone, bit for bit", async () => {
	const asks = [
		ask("exact", 1),
		ask("stagevar", 2, { prompt: "a dog" }),
		ask("stagevar-released", 3, { previews: 1 }),
		ask("exact", 4, { schedule: "2:1", previews: "none" }),
		ask("stagevar", 5, { prompt: "two red apples left of a blue bus" }),
		ask("exact", 6, { until: 1 }),
	];
	const alone: unknown[] = [];
	for (const asked of asks) alone.push(await run(asked));
	// More than there are slots: the last ones wait, then join while others are half done.
	expect(await Promise.all(asks.map(run))).toEqual(alone);
	expect(await Promise.all(asks.toReversed().map(run))).toEqual(alone.toReversed());
});

it("a picture that goes on from logged codes shares rounds with new ones", async () => {
	const whole = await Array.fromAsync(model.generate(ask("stagevar", 9)));
	const codes = whole.flatMap((result) => (result.kind === "scale" ? [result.codes] : [])).slice(0, 2);
	const [resumed] = await Promise.all([
		run(ask("stagevar", 9, { forcedCodes: codes })),
		run(ask("exact", 10)),
		run(ask("stagevar", 11)),
	]);
	expect(resumed).toEqual(made(whole).slice(2));
});

it("pictures that stop, are aborted or are refused leave the others alone and nothing behind", async () => {
	const expected = await run(ask("stagevar", 12));
	const before = gpu.bytes;
	const abort = new AbortController();
	const aborted = (async () => {
		for await (const result of model.generate(ask("exact", 13, { signal: abort.signal })))
			if (result.kind === "scale" && result.index === 1) abort.abort(new Error("enough"));
	})();
	const left = (async () => {
		for await (const _ of model.generate(ask("stagevar", 14))) break;
	})();
	const refused = async () => run(ask("exact", 15, { forcedCodes: [new Uint8Array(7)] }));
	const [own] = await Promise.all([
		run(ask("stagevar", 12)),
		left,
		expect(aborted).rejects.toThrow("enough"),
		expect(refused).rejects.toThrow(/7/),
	]);
	expect(own).toEqual(expected);
	expect(gpu.bytes).toBe(before);
});

it("a caller who does not read holds up nobody", async () => {
	const idle = model.generate(ask("exact", 16));
	await idle.next();
	expect(await run(ask("exact", 17))).toHaveLength(5);
	await idle.return();
});
