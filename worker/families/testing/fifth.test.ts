/**
 * A family more is one folder: a made-up one, of which no other file knows, is imported, opened, run and verified by
 * the ordinary ways.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { difference } from "../../../infra/verify/against.ts";
import { verifySet } from "../../../infra/verify/verify.ts";
import { sharedGpu } from "../../../kernels/gpu/native/testing.ts";
import { importPublished } from "../../../model-shards/import/published.ts";
import { openModelFolder } from "../../../model-shards/open.ts";
import { type RawTensor, writeSafetensors } from "../../../model-shards/testing.ts";
import { openModel } from "../../engine/open.ts";
import { memoryNeed } from "../../engine/paper/memory.ts";
import { exact } from "../../policies/exact.ts";
import { families } from "../index.ts";
import { pictureByHand } from "./by-hand.ts";
import { FIELDS, fifth, SMALL, VAE } from "./fifth/index.ts";
import { randomModel, type WeightOf } from "./random-model.ts";

const more = { families: { ...families, fifth } };
const LABEL = 1;
/** Of the recording; it grows from 0 at the first scale. */
const GUIDANCE = 1.5;

const gpu = await sharedGpu();
let dir: string;
let weight: WeightOf;
beforeAll(async () => {
	dir = await mkdtemp(join(tmpdir(), "fifth-"));
	const { tensors } = randomModel(SMALL, 11, more.families);
	weight = (name) => tensors.get(name) as Float32Array<ArrayBuffer>;
	// A checkpoint as it would be published: transformer and picture tokenizer, with what nobody reads.
	const shapes = new Map(fifth.tensors(SMALL.config).map(({ name, shape }) => [name, shape]));
	for (const part of ["transformer", "vae"]) {
		const file: Record<string, RawTensor> = { "attn.zero_k_bias": raw([0]) };
		for (const [name, data] of tensors)
			if (name.startsWith(`${part}.`)) file[name.slice(part.length + 1)] = raw(data, shapes.get(name));
		await writeSafetensors(join(dir, `${part}.safetensors`), file);
	}
});
afterAll(() => rm(dir, { recursive: true }));

const raw = (data: ArrayLike<number>, shape = [data.length]): RawTensor => ({
	dtype: "F32",
	shape: [...shape],
	bytes: new Uint8Array(Float32Array.from(data).buffer),
});
const whole = (data: ArrayLike<number>): RawTensor => ({
	dtype: "I32",
	shape: [data.length],
	bytes: new Uint8Array(Int32Array.from(data).buffer),
});

it("is imported, opened and run, and costs what its record says", async () => {
	const out = join(dir, "imported");
	const files = ["vae", "transformer"].map((part) => join(dir, `${part}.safetensors`));
	const manifest = await importPublished(fifth, "small", files, { out });
	expect(manifest).toMatchObject({ name: "fifth-small", family: "fifth" });
	await expect(openModelFolder(out)).rejects.toThrow(/is of the family fifth, which this version does not know/);
	const folder = await openModelFolder(out, more);
	const before = gpu.bytes;
	const model = await openModel(gpu, folder, { slots: 2 });
	try {
		const plan = exact.plan(model.info, {});
		await model.compile([plan]);
		const draw = (label: number) => Array.fromAsync(model.generate({ plan, label, seed: 1, previews: "all" }));
		const [one, other] = await Promise.all([draw(0), draw(2)]);
		expect(one.map(({ kind }) => kind)).toEqual(["scale", "scale", "final"]);
		expect(one.at(-1)).toMatchObject({ image: { height: 4, width: 4 } });
		expect(one.at(-1)).not.toEqual(other.at(-1));
		const need = memoryNeed(folder, { slots: 2 });
		expect((gpu.bytes - before) / need.phases.picture).toBeCloseTo(1, 1);
		// A model against itself, by the names that its record gives.
		expect(await difference(model, model, plan, { label: 0 }, 1)).toEqual({
			scales: [0, 1].map((scale) => ({ scale, logits: 0, bits: 1 })),
			samePsnr: Infinity,
			seedPsnr: Infinity,
		});
	} finally {
		model.destroy();
	}
	expect(gpu.bytes).toBe(before);
});

it("is verified against its formulas in f64", async () => {
	const set = join(dir, "fifth-set");
	await mkdir(set);
	const scales = pictureByHand(SMALL.config, weight, LABEL, [0, GUIDANCE]);
	const golden: Record<string, RawTensor> = { labels: whole([LABEL]) };
	scales.forEach(({ input, blocks, rows, guided, codes, canvas }, scale) => {
		const tensors = { tokens_in: input, rows, guided, canvas };
		for (const [name, data] of Object.entries(tensors)) golden[`s${scale}.${name}`] = raw(data);
		blocks.forEach((data, block) => (golden[`s${scale}.blk${block}.out`] = raw(data)));
		golden[`s${scale}.idx`] = whole(codes);
	});
	golden.canvas_at_last = golden["s1.canvas"];
	await writeSafetensors(join(set, "golden.safetensors"), golden);
	const manifest = {
		format: 1,
		kind: "fifth",
		config: FIELDS,
		vae_config: VAE,
		weights_file: "../transformer.safetensors",
		vae_file: "../vae.safetensors",
		inference: { cfg: GUIDANCE },
		runs: {
			main: {
				file: "golden.safetensors",
				scale_schedule: FIELDS.sides.map((side) => [1, side, side]),
				inputs: { labels: { file: "golden.safetensors", tensor: "labels" } },
				recorded: Object.fromEntries(
					Object.entries(golden).map(([name, { dtype, shape }]) => [
						name,
						{ dtype, shape, role: name === "labels" ? "input" : "output", exact: dtype === "I32", rel: 2e-6 },
					]),
				),
			},
		},
	};
	await writeFile(join(set, "manifest.json"), JSON.stringify(manifest));
	await expect(verifySet(gpu, set).next()).rejects.toThrow(/is of the kind fifth; this engine verifies the kinds/);
	const runs = await Array.fromAsync(verifySet(gpu, set, undefined, more));
	expect(runs.map(({ name }) => name)).toEqual(["main"]);
	const [{ comparisons }] = runs;
	expect(comparisons).toHaveLength(Object.keys(golden).length - 1);
	expect(comparisons.filter(({ ok }) => !ok)).toEqual([]);
});
