/** A budget that holds the text encoder only while a prompt is encoded. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { SMALL_HEAD } from "../../model-shards/testing.ts";
import type { ModelFolder } from "../families/folder.ts";
import { randomModel } from "../families/testing/random-model.ts";
import type { ClipTextConfig, Qwen2Config, T5Config } from "../families/text/config.ts";
import { policies } from "../policies/index.ts";
import { openModel } from "./open.ts";
import { within } from "./paper/budget.ts";
import { memoryNeed } from "./paper/memory.ts";
import type { LoadedModel } from "./types.ts";

let gpu: Gpu;
beforeAll(async () => {
	gpu = await openGpu();
});
afterAll(() => gpu.destroy());

/** Larger than all the rest together. */
const encoder = { width: 16, heads: 2, layers: 2, ffn: 48, vocabulary: 40_000, maxTokens: 8, normEps: 1e-5 };
const t5: T5Config = { kind: "t5", ...encoder, headDim: 8, buckets: 8, distance: 16 };
const clip: ClipTextConfig = { kind: "clip-text", ...encoder, activation: "gelu", startId: 1, endId: 2 };
const qwen: Qwen2Config = { kind: "qwen2", ...encoder, kvHeads: 1, ropeTheta: 1e4, padId: 0, padSide: "right" };
const shape = { depth: 2, width: 16, heads: 2, ffn: 32, normEps: 1e-6 };
const rest = {
	codebook: { vocabulary: 16, channels: 4, phis: 2 },
	vae: { baseChannels: 8, multipliers: [1, 2], residualBlocks: 1, normGroups: 4, normEps: 1e-6 },
	textChannels: 16,
	textMaxTokens: 8,
};
const hart = { normalised: true, ropeTheta: 1e4, residual: { width: 8, depth: 1, steps: 2 }, instructions: "" };
const CONFIGS: [family: string, config: object][] = [
	["infinity", { ...SMALL_HEAD.config, textChannels: 16, textMaxTokens: 8, textEncoder: t5 }],
	["star", { ...shape, ...rest, scales: 2, ropeReach: 8, ropeTheta: 1e4, textEncoder: clip }],
	["hart", { ...shape, ...rest, ...hart, textEncoder: qwen }],
];

/** Shards of it are read with the names that are wanted; `read` has those of the last reading. */
function made(family: string, config: object): { folder: ModelFolder; read: Set<string> } {
	const { folder } = randomModel({ ...SMALL_HEAD, family, config }, 1);
	const read = new Set<string>();
	return {
		read,
		folder: {
			...folder,
			async *tensors(wants = () => true) {
				read.clear();
				for await (const tensor of folder.tensors()) {
					if (!wants(tensor.name)) continue;
					read.add(tensor.name.split(".")[0]);
					yield tensor;
				}
			},
		},
	};
}

/** A hash of codes and pixels. */
async function draw(model: LoadedModel, ...ids: number[]): Promise<string> {
	const plan = policies.exact.plan(model.info, {});
	const draws = new Map([["text.ids", Int32Array.from(ids)]]);
	const hash = createHash("sha256");
	for await (const result of model.generate({ plan, seed: 3, draws, previews: "none" }))
		if (result.kind !== "revision") hash.update(result.kind === "scale" ? result.codes : result.image.data);
	return hash.digest("hex");
}

test.each(CONFIGS)("%s: the same pictures, in less memory, the encoder read for new prompts alone", async (...of) => {
	const { folder, read } = made(...of);
	const bare = gpu.bytes;
	const both = await openModel(gpu, folder);
	const pictures = [await draw(both, 3, 4, 2), await draw(both, 5, 6, 2)];
	expect(pictures[0]).not.toEqual(pictures[1]);
	expect(read).toEqual(new Set(["text_encoder", "transformer", "vae"]));
	both.destroy();

	const memory = memoryNeed(folder, { encoder: "visits" }).total;
	expect(within(folder, {}, memory)?.within.encoder).toBe("visits");
	const need = memoryNeed(folder);
	expect(memory).toBeLessThan(need.total);
	const model = await openModel(gpu, folder, { memory });
	expect(read).toEqual(new Set(["transformer", "vae"]));
	expect(gpu.bytes - bare).toBeLessThan(need.weights + need.decoder + 2 ** 12);
	expect(model.numerics).toBe(both.numerics);
	await model.compile([policies.exact.plan(model.info, {})]);
	expect(read).toEqual(new Set(["transformer", "vae"]));
	expect(await draw(model, 3, 4, 2)).toEqual(pictures[0]);
	expect(read).toEqual(new Set(["text_encoder"]));
	const after = gpu.bytes;
	read.clear();
	expect(await draw(model, 3, 4, 2)).toEqual(pictures[0]);
	expect(read.size).toBe(0);
	expect(await draw(model, 5, 6, 2)).toEqual(pictures[1]);
	expect([...read]).toEqual(["text_encoder"]);
	expect(gpu.bytes).toBe(after);
	model.destroy();
	expect(gpu.bytes).toBe(bare);
});

test("of several slots, who needs the encoder waits for the others; pictures come out as they do alone", async () => {
	const { folder } = made(...CONFIGS[0]);
	const alone = await openModel(gpu, folder);
	const prompts = [
		[3, 2],
		[4, 2],
		[3, 2],
		[5, 2],
		[4, 2],
		[3, 2],
	];
	const expected: string[] = [];
	for (const ids of prompts) expected.push(await draw(alone, ...ids));
	alone.destroy();
	const bare = gpu.bytes;
	const memory = memoryNeed(folder, { encoder: "visits", slots: 3 }).total;
	const model = await openModel(gpu, folder, { memory, slots: 3 });
	expect(await Promise.all(prompts.map((ids) => draw(model, ...ids)))).toEqual(expected);
	// One that is left before its turn holds nobody up.
	const plan = policies.exact.plan(model.info, {});
	const left = new AbortController();
	const draws = new Map([["text.ids", Int32Array.of(9, 2)]]);
	const busy = draw(model, 6, 2);
	const leaving = Array.fromAsync(model.generate({ plan, seed: 1, draws, previews: "none", signal: left.signal }));
	left.abort(new Error("left"));
	await expect(leaving).rejects.toThrow("left");
	expect(await draw(model, 4, 2)).toEqual(expected[1]);
	await busy;
	model.destroy();
	expect(gpu.bytes).toBe(bare);
});

test("who leaves while the encoder comes is told when it has come; that wait is said", async () => {
	const { folder } = made(...CONFIGS[0]);
	let gate: PromiseWithResolvers<void> | undefined;
	const slow: ModelFolder = {
		...folder,
		async *tensors(wants) {
			await gate?.promise;
			yield* folder.tensors(wants);
		},
	};
	const memory = memoryNeed(folder, { encoder: "visits", slots: 3 }).total;
	const model = await openModel(gpu, slow, { memory, slots: 3 });
	expect([model.slots, model.apart]).toEqual([3, 1]);
	gate = Promise.withResolvers();
	const plan = policies.exact.plan(model.info, {});
	const left = new AbortController();
	const waits: boolean[] = [];
	const leaving = Array.fromAsync(
		model.generate({
			plan,
			seed: 1,
			draws: new Map([["text.ids", Int32Array.of(9, 2)]]),
			previews: "none",
			signal: left.signal,
			waits: (begins) => waits.push(begins),
		}),
	);
	await new Promise((resolve) => setTimeout(resolve, 20));
	expect(waits).toEqual([true]);
	left.abort(new Error("left"));
	gate.resolve();
	await expect(leaving).rejects.toThrow("left");
	// The text itself is the device's work.
	expect(waits).toEqual([true, false, true, false]);
	const drawn = await Promise.all([draw(model, 4, 2), draw(model, 9, 2)]);
	const alone = await openModel(gpu, folder);
	expect(drawn).toEqual([await draw(alone, 4, 2), await draw(alone, 9, 2)]);
	alone.destroy();
	model.destroy();
});
