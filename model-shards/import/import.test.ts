import { existsSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { infinityConfigFromReference } from "../../worker/families/infinity/official.ts";
import { infinityTensors } from "../../worker/families/infinity/tensors.ts";
import { ModelFormatError } from "../format/errors.ts";
import { findModel, MODELS_DIR, openModelFolder } from "../open.ts";
import { SMALL, SMALL_HEAD, smallCheckpoint, writeSafetensors } from "../testing.ts";
import { importFolder } from "./folder.ts";
import { importModel } from "./model.ts";
import { importReferenceSet, referenceGrids, withImages } from "./reference.ts";

const dir = await mkdtemp(join(tmpdir(), "models-"));
afterAll(() => rm(dir, { recursive: true }));
let folders = 0;

async function small(
	edit: (checkpoint: ReturnType<typeof smallCheckpoint>) => void = () => {},
	{ name = "small", shardBytes = 4096 } = {},
): Promise<string> {
	const from = join(dir, `small-${folders++}`);
	const checkpoint = smallCheckpoint();
	edit(checkpoint);
	await writeSafetensors(`${from}.weights`, checkpoint.weights);
	await writeSafetensors(`${from}.vae`, checkpoint.vae);
	await importModel({
		weights: `${from}.weights`,
		vae: `${from}.vae`,
		head: { ...SMALL_HEAD, name },
		out: from,
		shardBytes,
	});
	return from;
}

describe("importModel and openModelFolder", () => {
	it("carry every needed tensor through the shards, F16 as F16, and nothing else", async () => {
		const folder = await openModelFolder(await small());
		const { weights, vae } = smallCheckpoint();
		expect(folder.manifest.shards.length).toBeGreaterThan(2);
		const seen: string[] = [];
		for await (const { name, dtype, shape, bytes } of folder.tensors()) {
			const official = name.replace(/^(transformer|vae)\./, "");
			const source = (name.startsWith("vae.") ? vae : weights)[official];
			expect({ dtype, shape }).toEqual({ dtype: source.dtype, shape: source.shape });
			expect(bytes).toEqual(source.bytes);
			expect(bytes.byteOffset % 4).toBe(0);
			seen.push(name);
		}
		expect(seen).toEqual(infinityTensors(SMALL).map(({ name }) => name));
		expect(folder.tokenizer).toBeNull();
	});

	it("gives the same digest for the same input, whatever was in the folder", async () => {
		const [a, b] = [await openModelFolder(await small()), await openModelFolder(await small())];
		expect(a.digest).toBe(b.digest);
	});

	it("lists what is missing, of the wrong shape or type, or unknown, and writes no model", async () => {
		let at = "";
		const failing = small(({ weights, vae }) => {
			at = join(dir, `small-${folders - 1}`);
			delete weights["head.bias"];
			weights.pos_start = { dtype: "F16", shape: [1, 8], bytes: new Uint8Array(16) };
			weights["text_norm.weight"] = { dtype: "I16", shape: [128], bytes: new Uint8Array(256) };
			vae["decoder.up.2.block.0.conv1.conv.bias"] = { dtype: "F16", shape: [1], bytes: new Uint8Array(2) };
		});
		await expect(failing).rejects.toBeInstanceOf(ModelFormatError);
		const message = await failing.catch((error: Error) => error.message);
		expect(message).toContain("transformer.head.bias is missing");
		expect(message).toContain("transformer.pos_start has shape [1,8], the configuration asks for [1,1,8]");
		expect(message).toContain("transformer.text_norm.weight has type I16");
		expect(message).toContain("vae.decoder.up.2.block.0.conv1.conv.bias is not part of a model");
		expect(existsSync(join(at, "manifest.json"))).toBe(false);
	});

	it("refuses a changed, a cut and a missing shard before giving a tensor of it", async () => {
		const from = await small();
		const read = async () => {
			const names: string[] = [];
			try {
				for await (const { name } of (await openModelFolder(from)).tensors()) names.push(name);
			} catch (error) {
				expect(error).toBeInstanceOf(ModelFormatError);
				return { names, message: (error as Error).message };
			}
			return { names, message: "" };
		};
		const { manifest } = await openModelFolder(from);
		const second = join(from, manifest.shards[1].file);
		const inFirst = manifest.tensors.filter(({ shard }) => shard === 0).length;

		const bytes = await readFile(second);
		bytes[100] ^= 1;
		await writeFile(second, bytes);
		expect(await read()).toMatchObject({ message: expect.stringMatching(/shard-001\.bin is damaged: its SHA-256 is/) });
		expect((await read()).names).toHaveLength(inFirst);
		await truncate(second, 10);
		expect((await read()).message).toMatch(/shard-001\.bin has 10 bytes, the manifest says \d+/);
		await rm(second);
		expect((await read()).message).toMatch(/Cannot open .*shard-001\.bin/);
	});
});

it("of a long name with a precision behind it the end goes, so that it is a name", async () => {
	const name = `abc-${"d".repeat(60)}`;
	const folder = await openModelFolder(await small(undefined, { name }));
	const made = await importFolder(folder, { out: join(dir, "long"), dtype: "f16" });
	expect(made.name).toBe(`abc-${"d".repeat(56)}-f16`);
});

describe("models of the repository", () => {
	it.each(["emoji-128", "tiny"])("%s is whole, fits its configuration and has a tokenizer", async (name) => {
		const folder = await openModelFolder(findModel(name));
		const shapes = new Map<string, number[]>();
		for await (const tensor of folder.tensors()) shapes.set(tensor.name, tensor.shape);
		expect([...shapes].map(([name, shape]) => ({ name, shape }))).toEqual(
			folder.wanted.map(({ name, shape }) => ({ name, shape })),
		);
		expect(folder.info.id).toBe(name);
		expect(folder.info.calibration).toHaveProperty("1:1");
		expect(folder.tokenizer).toMatchObject({ model: { type: "WordLevel" } });
	});

	it("refuses a changed tokenizer", async () => {
		const copy = join(dir, "changed-tokenizer");
		await cp(join(MODELS_DIR, "tiny"), copy, { recursive: true });
		await writeFile(join(copy, "tokenizer.json"), "{}".padEnd((await stat(join(copy, "tokenizer.json"))).size));
		await expect(openModelFolder(copy)).rejects.toThrow(/tokenizer\.json is damaged/);
	});

	it("findModel takes a name or a path and says what there is", async () => {
		expect(findModel("tiny")).toBe(join(MODELS_DIR, "tiny"));
		expect(findModel(join(MODELS_DIR, "tiny"))).toBe(join(MODELS_DIR, "tiny"));
		for (const wrong of ["", "tinny", "../manifest.json", dir]) {
			expect(() => findModel(wrong)).toThrow(/There is no model .* Bundled models: emoji-128, emoji-256, tiny\./);
		}
	});
});

describe("reference sets", () => {
	const config = {
		depth: 2,
		embed_dim: 8,
		num_heads: 2,
		block_chunks: 2,
		text_channels: 128,
		text_maxlen: 4,
		apply_spatial_patchify: 0,
		cos_attn: true,
		norm_eps: 1e-6,
	};
	const vae_config = { codebook_dim: 3, base_ch: 4, num_res_blocks: 1, decoder_ch_mult: [1, 2], norm_groups: 4 };
	const set = {
		format: 1 as const,
		kind: "infinity" as const,
		config,
		vae_config,
		weights_file: "weights.safetensors",
		vae_file: "vae.safetensors",
	};
	const run = (h_div_w_template: number, scale_schedule: [1, number, number][]) => ({
		h_div_w_template,
		scale_schedule,
	});
	const fc1 = new Map([["block_chunks.0.module.0.ffn.fc1.weight", [16, 8]]]);

	it("import as a model with a schedule per aspect", async () => {
		const from = join(dir, "My Set");
		await cp(join(MODELS_DIR, "tiny", "tokenizer.json"), join(from, "unused.json"), { recursive: true });
		const { weights, vae } = smallCheckpoint("F32");
		await writeSafetensors(join(from, "weights.safetensors"), weights);
		await writeSafetensors(join(from, "vae.safetensors"), vae);
		const runs = {
			sq: {
				...run(1, [
					[1, 1, 1],
					[1, 2, 2],
				]),
				cfg: 4,
			},
			r2: run(2, [
				[1, 1, 1],
				[1, 4, 2],
			]),
		};
		await writeFile(join(from, "manifest.json"), JSON.stringify({ ...set, tau: 0.5, runs }));
		const manifest = await importReferenceSet(join(from, "manifest.json"), join(dir, "set"));
		expect(manifest).toMatchObject({
			name: "my-set",
			defaultSchedule: "1:1",
			sampling: { guidance: 4, tau: 0.5, topK: 1 },
		});
		expect(manifest.schedules["2:1"]).toEqual({
			grids: [
				[1, 1],
				[4, 2],
			],
			image: { height: 8, width: 4 },
		});
		expect(manifest.config).toEqual({ ...SMALL, ropeReach: { "1:1": [64, 64], "2:1": [90, 45] } });
		await openModelFolder(join(dir, "set"));
	});

	it("name further schedules of one aspect after their run and share equal ones", () => {
		const runs = {
			a: run(1, [
				[1, 1, 1],
				[1, 2, 2],
			]),
			b: run(1, [
				[1, 1, 1],
				[1, 4, 4],
			]),
			c: run(1, [
				[1, 1, 1],
				[1, 2, 2],
			]),
			wide: run(0.5, [
				[1, 1, 1],
				[1, 2, 4],
			]),
			silent: {
				scale_schedule: [
					[1, 1, 1],
					[1, 21, 14],
				] as [1, number, number][],
			},
		};
		const { grids, reach, ofRun } = referenceGrids({ ...set, runs });
		expect(ofRun).toEqual({ a: "1:1", b: "1:1 b", c: "1:1", wide: "1:2", silent: "3:2" });
		expect(Object.keys(grids)).toEqual(["1:1", "1:1 b", "1:2", "3:2"]);
		expect(reach).toEqual({ "1:1": [64, 64], "1:1 b": [64, 64], "1:2": [45, 90], "3:2": [78, 52] });
		expect(withImages(grids, 2)["3:2"].image).toEqual({ height: 42, width: 28 });
		expect(() => referenceGrids({ ...set, runs: { x: run(1.1, [[1, 1, 1]]) } })).toThrow(
			/Aspect ratio 1.1 .* is not one of/,
		);
	});

	it("infinityConfigFromReference refuses variants the engine does not compute", () => {
		expect(infinityConfigFromReference(config, vae_config, fc1, {})).toEqual({ ...SMALL, ropeReach: {} });
		expect(infinityConfigFromReference({ ...config, apply_spatial_patchify: 1 }, vae_config, fc1, {})).toEqual({
			...SMALL,
			patchify: 2,
			ropeReach: {},
		});
		expect(() => infinityConfigFromReference({ ...config, apply_spatial_patchify: 2 }, vae_config, fc1, {})).toThrow(
			/transformer configuration cannot be read/,
		);
		expect(() => infinityConfigFromReference({ ...config, use_bit_label: 0 }, vae_config, fc1, {})).toThrow(
			/use_bit_label = 0 is not supported, only use_bit_label = 1: the official code cannot sample without/,
		);
		expect(() => infinityConfigFromReference({ ...config, depth: 0 }, vae_config, fc1, {})).toThrow(
			/transformer configuration cannot be read/,
		);
		expect(() => infinityConfigFromReference(config, vae_config, new Map(), {})).toThrow(
			/no block_chunks\.0\.module\.0\.ffn\.fc1\.weight/,
		);
	});

	it("the group norm follows the official rule where the configuration is silent", () => {
		const groups = (base_ch: number, decoder_ch_mult: number[]) =>
			infinityConfigFromReference(config, { ...vae_config, norm_groups: undefined, base_ch, decoder_ch_mult }, fc1, {})
				.vae.normGroups;
		expect(groups(128, [1, 2, 4])).toBe(32);
		expect(groups(24, [1, 3])).toBe(24);
		expect(groups(24, [1, 4])).toEqual([24, 32]);
	});
});
