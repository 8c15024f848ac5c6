/** Weights on the device: what they take, and that whole numbers give the bits of what they stand for. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Gpu } from "../../../kernels/gpu/gpu.ts";
import { NULL_FACTS, openNullDevice } from "../../../kernels/gpu/native/null-backend.ts";
import { sharedGpu } from "../../../kernels/gpu/native/testing.ts";
import { gatherRows } from "../../../kernels/tokens/gather.ts";
import type { ModelTensor } from "../../../model-shards/format/folder.ts";
import { residentBytes } from "../../../model-shards/format/layout.ts";
import { dequantize, toF32 } from "../../../model-shards/format/precision.ts";
import { importFolder } from "../../../model-shards/import/folder.ts";
import { findModel, openModelFolder } from "../../../model-shards/open.ts";
import { openModel } from "../../engine/open.ts";
import { slotsWithin, within } from "../../engine/paper/budget.ts";
import { memoryNeed } from "../../engine/paper/memory.ts";
import type { GenerateResult } from "../../engine/types.ts";
import { policies } from "../../policies/index.ts";
import type { ModelFolder } from "../folder.ts";
import { plannedModel } from "../planned.ts";
import { Weights } from "./weights.ts";

const gpu = await sharedGpu();
let dir: string;
let tiny: ModelFolder;
beforeAll(async () => {
	dir = await mkdtemp(join(tmpdir(), "weights-"));
	tiny = await openModelFolder(findModel("tiny"));
});
afterAll(() => rm(dir, { recursive: true }));

/** The same model with its whole numbers as the floats that they stand for. */
function widened(folder: ModelFolder): ModelFolder {
	const { manifest } = folder;
	const scales = new Set(manifest.tensors.flatMap(({ quantization }) => quantization?.scales ?? []));
	const tensors = manifest.tensors
		.filter(({ name }) => !scales.has(name))
		.map(({ quantization: _, ...tensor }) => ({
			...tensor,
			dtype: tensor.dtype === "F16" ? ("F16" as const) : ("F32" as const),
		}));
	return {
		...folder,
		manifest: { ...manifest, tensors },
		async *tensors() {
			const all = new Map<string, ModelTensor>();
			for await (const tensor of folder.tensors()) all.set(tensor.name, { ...tensor, bytes: tensor.bytes.slice() });
			for (const { name, quantization } of manifest.tensors) {
				const tensor = all.get(name) as ModelTensor;
				if (scales.has(name)) continue;
				if (!quantization) yield tensor;
				else
					yield {
						...tensor,
						dtype: "F32",
						bytes: new Uint8Array(
							dequantize(
								tensor.bytes,
								new Float16Array((all.get(quantization.scales) as ModelTensor).bytes.buffer),
								tensor.dtype as "I8" | "I4",
								quantization.group,
							).buffer,
						),
					};
			}
		},
	};
}
const codes = (results: GenerateResult[]) =>
	results.map((result) =>
		result.kind === "scale" ? result.codes : result.kind === "final" ? result.image : result.plan,
	);

describe.each([
	["int8", 64],
	["int4", 32],
] as const)("%s in groups of %i", (dtype, group) => {
	it("gives codes and pictures of the same numbers as floats, alone and together", async () => {
		const out = join(dir, dtype);
		await importFolder(tiny, { out, dtype, group });
		const folder = await openModelFolder(out);
		expect(folder.manifest).toMatchObject({
			name: `tiny-${dtype}`,
			schedules: tiny.manifest.schedules,
			sampling: tiny.manifest.sampling,
			tokenizer: tiny.manifest.tokenizer,
		});
		const whole = await openModel(gpu, folder, { slots: 2 });
		const floats = await openModel(gpu, widened(folder));
		const plan = policies.stagevar.plan(whole.info, {});
		const ask = (seed: number) => ({ plan, prompt: "a photo of a cat", seed, previews: "none" as const });
		const [first, second] = [
			await Array.fromAsync(whole.generate(ask(1))),
			await Array.fromAsync(whole.generate(ask(2))),
		];
		expect(codes(await Array.fromAsync(floats.generate(ask(1))))).toEqual(codes(first));
		expect((await Promise.all([1, 2].map((seed) => Array.fromAsync(whole.generate(ask(seed)))))).map(codes)).toEqual(
			[first, second].map(codes),
		);
		whole.destroy();
		floats.destroy();
	});

	it("cannot be made of what is quantised already", async () => {
		await expect(
			importFolder(await openModelFolder(join(dir, dtype)), { out: join(dir, "again"), dtype: "f16" }),
		).rejects.toThrow(/is I[48]\. Import from the model in f32 or f16/);
	});
});

it("takes the bytes that were foretold, in every precision", async () => {
	for (const name of [tiny.dir, join(dir, "int8"), join(dir, "int4")]) {
		const folder = await openModelFolder(name);
		const before = gpu.bytes;
		const weights = await Weights.load(gpu, folder);
		expect(gpu.bytes - before).toBe(
			residentBytes(folder.manifest.tensors, folder.wanted).reduce((sum, { bytes }) => sum + bytes, 0),
		);
		weights.destroy();
		expect(gpu.bytes).toBe(before);
	}
});

it("where a buffer is small, slots are fewer, and a picture that has no room says what would", async () => {
	const limited = new Gpu(gpu.device, gpu.facts, 9 * 2 ** 20, 9 * 2 ** 20);
	const model = await openModel(limited, tiny, { slots: 10_000 });
	expect(model.slots).toBe(Math.floor((9 * 2 ** 20) / memoryNeed(tiny, { textTokens: 32 }).shared));
	expect(model.slots).toBeLessThan(2_000);
	expect(
		[1, 2, 4].map((slots) =>
			slotsWithin(tiny, { slots, textTokens: 32 }, 2.5 * memoryNeed(tiny, { textTokens: 32 }).shared),
		),
	).toEqual([1, 2, 2]);
	const [same, whole] = [model, await openModel(gpu, tiny)];
	const ask = (seed: number) => ({
		plan: policies.exact.plan(model.info, {}),
		prompt: "a photo of a cat",
		seed,
		previews: "none" as const,
		until: 1,
	});
	const some = await Promise.all([1, 2, 3].map((seed) => Array.fromAsync(same.generate(ask(seed)))));
	expect(codes(some[2])).toEqual(codes(await Array.fromAsync(whole.generate(ask(3)))));
	model.destroy();
	whole.destroy();
	const opened = openModel(new Gpu(gpu.device, gpu.facts, 300_000, 300_000), tiny);
	await expect(opened).rejects.toThrow(
		RegExp(
			String.raw`buffer of \d+ bytes; this adapter has buffers of at most 300000\..* ` +
				String.raw`tiny with 1 slot\(s\) takes about .*It would take, with`,
		),
	);
});

it("a budget is kept by storing less in the decoder; where that does not do, what would is said", async () => {
	const large = plannedModel("infinity", "2b");
	const setting = { precision: "f16", cacheDtype: "f16" } as const;
	const { total } = memoryNeed(large, setting);
	const same = within(large, setting, total);
	const less = within(large, setting, total - 2 ** 27);
	expect(less?.within.stored.bytes).toBeLessThan(same?.within.stored.bytes as number);
	expect(less?.need.total).toBeLessThan(total - 2 ** 27);
	expect(within(large, setting, total / 2)).toBeUndefined();
	// A card of 8 GiB.
	expect(within(large, setting, 2 ** 33)).toBeDefined();

	const need = memoryNeed(tiny);
	const model = await openModel(gpu, tiny, { memory: need.total });
	model.destroy();
	const refused = openModel(gpu, tiny, { memory: need.weights });
	await expect(refused).rejects.toThrow(/^The \d+ bytes that are given do not do\. tiny with .* It would take, with/);
});

it("a table of words that no binding holds is cut by its rows, and they are found all the same", async () => {
	const small = new Gpu(gpu.device, gpu.facts, 256);
	const data = Float32Array.from({ length: 10 * 8 }, (_, i) => i);
	const words = { name: "words.weight", shape: [10, 8], layout: "plain" as const, lookup: true as const };
	const weights = await Weights.load(small, {
		manifest: { tensors: [] },
		wanted: [words],
		async *tensors() {
			yield { name: words.name, dtype: "F32", shape: words.shape, bytes: new Uint8Array(data.buffer) };
		},
	});
	const x = weights.get(words.name);
	expect([x.shape, x.next?.shape, x.next?.next]).toEqual([[8, 8], [2, 8], undefined]);
	const y = small.tensor("rows", [3, 8]);
	const pass = small.pass("look up");
	gatherRows(pass, { x, index: pass.table([9, 0, 7]), y, count: 3, width: 8, label: "words" });
	const [rows] = await pass.submit([y]);
	expect([...new Float32Array(rows)].filter((_, i) => i % 8 === 0)).toEqual([72, 0, 56]);
	small.free(y);
	weights.destroy();
});

it("a model and its pictures take about what memoryNeed says", async () => {
	for (const slots of [1, 3]) {
		const before = gpu.bytes;
		const model = await openModel(gpu, tiny, { slots });
		const need = memoryNeed(tiny, { slots, textTokens: 7 });
		expect((gpu.bytes - before) / (need.weights + need.encoder + need.decoder)).toBeCloseTo(1, 1);
		const plan = policies.exact.plan(model.info, {});
		await Promise.all(
			Array.from({ length: slots }, (_, seed) =>
				Array.fromAsync(model.generate({ plan, prompt: "a photo of a cat", seed, previews: "none" })),
			),
		);
		expect((gpu.bytes - before) / need.phases.picture).toBeCloseTo(1, 1);
		model.destroy();
	}
});

it("matrices of halves have the bits that they have when they were widened before, whole and cut", async () => {
	const asFloats: ModelFolder = {
		...tiny,
		async *tensors() {
			for await (const { dtype, bytes, ...tensor } of tiny.tensors())
				yield { ...tensor, dtype: "F32", bytes: new Uint8Array(toF32(dtype, bytes.slice()).buffer) };
		},
	};
	const device = await openNullDevice();
	const uploads = async (folder: ModelFolder, binding: number) => {
		const small = new Gpu(device, NULL_FACTS, binding, 2 ** 27);
		const put: Uint8Array[] = [];
		const upload = small.upload.bind(small);
		// What is not cut may be longer than a binding here.
		small.upload = (label, shape, data) => {
			put.push(new Uint8Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength)));
			return upload(label, shape, data, true);
		};
		(await Weights.load(small, folder, undefined, "f16")).destroy();
		return put;
	};
	for (const binding of [2 ** 27, 2 ** 14]) {
		const [halves, floats] = [await uploads(tiny, binding), await uploads(asFloats, binding)];
		expect(halves.length).toBeGreaterThan(10);
		expect(halves).toEqual(floats);
	}
	device.destroy();
});
