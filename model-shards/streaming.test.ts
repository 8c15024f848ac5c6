/** Imports that never hold a checkpoint: full official lists into hashes, files in pieces, several files as one. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { openCheckpoint } from "./checkpoint.ts";
import { openModelFolder } from "./folder.ts";
import { importInfinity } from "./import-infinity.ts";
import { PUBLISHED, publishedInfinity, publishedTensors } from "./infinity-published.ts";
import { infinityTensors } from "./infinity-tensors.ts";
import { ModelFormatError } from "./manifest.ts";
import { nowhere } from "./sink.ts";
import { syntheticSource, writePth } from "./synthetic.ts";
import { SMALL, smallCheckpoint, writeSafetensors } from "./testing.ts";

const dir = await mkdtemp(join(tmpdir(), "streaming-"));
afterAll(() => rm(dir, { recursive: true }));

const small = {
	config: SMALL, name: "small", schedules: { "1:1": { grids: [[1, 1], [2, 2]] as [number, number][], image: { height: 4, width: 4 } } }, defaultSchedule: "1:1",
	sampling: { guidance: 3, tau: 0.5, topK: 0, topP: 0 }, licence: "none",
};

it("Infinity 125M imports over its full official list within a few pieces of memory", async () => {
	const { name, config, schedules, sampling } = publishedInfinity("125M");
	const { weights, vae } = publishedTensors("125m");
	const before = process.memoryUsage().arrayBuffers;
	let peak = 0;
	let read = 0;
	const manifest = await importInfinity({
		weights: syntheticSource("weights", weights, "BF16"), vae: syntheticSource("vae", vae, "F32"), config, name, schedules, defaultSchedule: "1:1", sampling, licence: "none",
		out: nowhere, dtype: "f16", progress: (done) => ((read = done), (peak = Math.max(peak, process.memoryUsage().arrayBuffers - before))),
	});
	expect(manifest.tensors.map(({ name, shape }) => ({ name, shape }))).toEqual(infinityTensors(config).map(({ name, shape }) => ({ name, shape })));
	expect(read).toBeGreaterThan(300e6);
	expect(peak).toBeLessThan(256 * 2 ** 20);
	expect(Object.keys(manifest.schedules)).toHaveLength(15);
	expect(manifest.schedules["3:2"].image).toEqual({ height: 336, width: 224 });
});

it.each(Object.keys(PUBLISHED))("the list of %s has the published number of parameters", (size) => {
	const { weights } = publishedTensors(size);
	const parameters = weights.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
	const [low, high] = { "125m": [124e6, 126e6], "2b": [1.95e9, 2.25e9], "8b": [7.8e9, 8.5e9], "8b-512": [7.8e9, 8.5e9] }[size] as number[];
	expect(parameters).toBeGreaterThan(low);
	expect(parameters).toBeLessThan(high);
	expect(new Set(weights.map(({ name }) => name)).size).toBe(weights.length);
});

it("a .pth and a sharded safetensors import to the same model", async () => {
	const { weights, vae } = smallCheckpoint("F32");
	const source = syntheticSource("weights", Object.entries(weights).map(([name, { shape }]) => ({ name, shape })), "BF16");
	await writePth(join(dir, "weights.pth"), source);
	await writeSafetensors(join(dir, "vae.safetensors"), vae);
	const names = [...source.tensors.keys()];
	const weight_map: Record<string, string> = {};
	for (const [i, part] of [names.slice(0, 5), names.slice(5)].entries()) {
		const tensors = await Promise.all(part.map(async (name) => [name, { ...(source.tensors.get(name) as { dtype: string; shape: number[] }), bytes: await source.read(name) }] as const));
		await writeSafetensors(join(dir, `model-${i}.safetensors`), Object.fromEntries(tensors));
		for (const name of part) weight_map[name] = `model-${i}.safetensors`;
	}
	const index = join(dir, "model.safetensors.index.json");
	await writeFile(index, JSON.stringify({ metadata: { total_size: 1 }, weight_map }));
	const digests = [];
	for (const [i, from] of [join(dir, "weights.pth"), index].entries()) {
		await importInfinity({ ...small, weights: from, vae: join(dir, "vae.safetensors"), out: join(dir, `out-${i}`), shardBytes: 4096 });
		digests.push((await openModelFolder(join(dir, `out-${i}`))).digest);
	}
	expect(digests[0]).toBe(digests[1]);

	await writeFile(index, JSON.stringify({ weight_map: { ...weight_map, more: "model-0.safetensors" } }));
	await expect(openCheckpoint(index)).rejects.toThrow(/looks for more in model-0\.safetensors, which lacks it/);
	await writeFile(index, JSON.stringify({ weight_map: { ...weight_map, more: "../model-0.safetensors" } }));
	await expect(openCheckpoint(index)).rejects.toThrow(ModelFormatError);
});

it("a value that F16 cannot hold is refused by its tensor's name", async () => {
	const { weights, vae } = smallCheckpoint("F32");
	new Float32Array(weights["head.bias"].bytes.buffer)[1] = 70000;
	await writeSafetensors(join(dir, "large.safetensors"), weights);
	await writeSafetensors(join(dir, "vae.safetensors"), vae);
	const importing = importInfinity({ ...small, weights: join(dir, "large.safetensors"), vae: join(dir, "vae.safetensors"), out: nowhere, dtype: "f16" });
	await expect(importing).rejects.toThrow(/transformer\.head\.bias holds 70000, which F16 cannot/);
});
