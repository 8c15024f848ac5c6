/** What small bindings and buffers cut: keys in banks and windows, activations by rows, decoders by tiles. */
import { expect, test } from "vitest";
import { Gpu } from "../../../kernels/gpu/gpu.ts";
import { sharedGpu } from "../../../kernels/gpu/native/testing.ts";
import type { Precision } from "../../../model-shards/format/precision.ts";
import { randomModel } from "../../families/testing/random-model.ts";
import { policies } from "../../policies/index.ts";
import { openModel } from "../open.ts";
import { slotsWithin } from "../paper/budget.ts";
import { memoryNeed } from "../paper/memory.ts";
import { features } from "../testing.ts";
import { KeyValueStore } from "./key-value-store.ts";

const gpu = await sharedGpu();

/** Many keys beside few tokens a scale: those of a guidance row fit the binding, those of both do not. */
const head = {
	name: "banked",
	family: "infinity" as const,
	config: {
		depth: 2,
		width: 64,
		heads: 2,
		ffn: 1024,
		chunkBlocks: 1,
		textChannels: 16,
		textMaxTokens: 4,
		poolHeads: 2,
		bits: 16,
		normEps: 1e-6,
		ropeReach: { "1:1": [64, 64] as [number, number] },
		vae: { baseChannels: 16, multipliers: [1, 1, 1, 1], residualBlocks: 1, normGroups: 4, normEps: 1e-6 },
		textEncoder: null,
	},
	schedules: {
		"1:1": {
			grids: [1, 16, 16, 16, 17].map((side): [number, number] => [side, side]),
			image: { height: 136, width: 136 },
		},
	},
	defaultSchedule: "1:1",
	sampling: { guidance: 3, tau: 1, topK: 0, topP: 0 },
	licence: "Random weights.",
};
const { folder } = randomModel(head, 3);

async function draw(on: Gpu, cacheDtype: Precision = "f32") {
	const model = await openModel(on, folder, { slots: 2, cacheDtype });
	expect(model.slots).toBe(2);
	const plan = policies.exact.plan(model.info, {});
	const pictures = await Promise.all(
		[1, 2].map(async (seed) => {
			const results = await Array.fromAsync(model.generate({ plan, seed, draws: features(), previews: "all" }));
			return results.map((result) =>
				result.kind === "scale"
					? [...result.codes, ...(result.preview?.data ?? [])]
					: result.kind === "final"
						? [...result.image.data]
						: [],
			);
		}),
	);
	model.destroy();
	return pictures;
}

const same = (a: number[][][], b: number[][][]) =>
	Buffer.from(JSON.stringify(a)).equals(Buffer.from(JSON.stringify(b)));

test.each([
	["bindings and buffers that hold one row's keys", 2 ** 19, 2 ** 19],
	["bindings that hold some of a row's keys", 2 ** 16, undefined],
])("pictures in %s are those of larger ones, to the last bit", async (_, bindingBytes, bufferBytes) => {
	const small = new Gpu(gpu.device, gpu.facts, bindingBytes, bufferBytes);
	// A block's keys of both pictures are more than the binding holds, and the rows of a feed-forward, too.
	const { keys } = memoryNeed(folder, { slots: 2 });
	expect(keys / 2).toBeGreaterThan(small.bindingBytes);
	expect(4 * 2 * 17 ** 2 * 1024).toBeGreaterThan(small.bindingBytes);
	const before = [gpu.bytes, small.bytes];
	const whole = await draw(gpu);
	expect(whole[0].at(-1)?.length).toBe(136 * 136 * 3);
	expect(same(await draw(small), whole)).toBe(true);
	expect([gpu.bytes, small.bytes]).toEqual(before);
});

test("keys in banks take no slots away: buffers are shared by embeddings and logits alone", () => {
	// Mixed logits of 289 cells, those of two guidance rows and those to go on with, 32 a cell.
	const shared = 4 * 3 * 17 ** 2 * 32;
	expect(slotsWithin(folder, { slots: 8 }, 2 ** 19)).toBe(Math.floor(2 ** 19 / shared));
	const wide = randomModel({ ...head, config: { ...head.config, width: 256 } }, 3).folder;
	expect(slotsWithin(wide, { slots: 8 }, 2 ** 20)).toBe(Math.floor(2 ** 20 / (4 * 17 ** 2 * 256)));
});

test.each([
	["int8", "banks and windows", 400_000],
	["int4", "windows", undefined],
] as const)("packed keys in %s, too, in %s", async (cacheDtype, _, bufferBytes) => {
	const before = gpu.bytes;
	const whole = await draw(gpu, cacheDtype);
	expect(same(whole, await draw(gpu))).toBe(false);
	// What is unpacked of a row is more than the binding.
	const small = new Gpu(gpu.device, gpu.facts, 2 ** 16, bufferBytes);
	if (bufferBytes) {
		const stored = 2 * 2 * (1 + 3 * 16 ** 2);
		expect(new KeyValueStore(small, 0, 64, cacheDtype).bank).toBeLessThan(stored);
	}
	expect(same(await draw(small, cacheDtype), whole)).toBe(true);
	expect(gpu.bytes).toBe(before);
});
