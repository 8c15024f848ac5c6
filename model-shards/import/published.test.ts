import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import type { Family } from "../../worker/families/family.ts";
import type { InfinityConfig } from "../../worker/families/infinity/config.ts";
import { infinity } from "../../worker/families/infinity/index.ts";
import { publishedInfinity, TOKENIZERS, tokenizerConfig } from "../../worker/families/infinity/published.ts";
import { infinityTensors } from "../../worker/families/infinity/tensors.ts";
import { parseManifest } from "../format/manifest.ts";
import { plannedTensors } from "../format/stored.ts";
import { openModelFolder } from "../open.ts";
import { SMALL, SMALL_HEAD, writeSafetensors } from "../testing.ts";
import { openSafetensors } from "./formats/safetensors.ts";
import { importPublished, type PublishedOptions } from "./published.ts";
import type { RoundTrip } from "./round-trip.ts";
import { syntheticSource } from "./synthetic.ts";
import { openTextEncoder } from "./text-encoder.ts";

const dir = await mkdtemp(join(tmpdir(), "published-"));
afterAll(() => rm(dir, { recursive: true }));

/** A family of one size, small enough to look at; its matrices over 128 text channels divide into groups. */
const family: Family<InfinityConfig> = {
	...infinity,
	published: { sizes: ["small"], describe: () => ({ head: SMALL_HEAD }) },
};
const of = (prefix: string, nested = "") =>
	infinityTensors(SMALL).flatMap(({ name, shape }) =>
		name.startsWith(prefix) ? [{ name: nested + name.slice(prefix.length), shape }] : [],
	);
const weights = syntheticSource("weights.pth", of("transformer."), "F32");
/** As the published tokenizers: the state_dict beside an average of it, with more than the decoder. */
const vae = syntheticSource(
	"vae.pth",
	[
		...of("vae.", "ema."),
		...of("vae.", "vae."),
		{ name: "vae.image_discriminator.conv.weight", shape: [1] },
		{ name: "step", shape: [1] },
	],
	"F32",
);
const write = (options: Partial<PublishedOptions>, checkpoints = [vae, weights]) =>
	importPublished(family, "small", checkpoints, { out: join(dir, "out"), ...options });

describe("importPublished", () => {
	it("finds the parts in any order and in published layouts", async () => {
		await write({});
		const folder = await openModelFolder(join(dir, "out"));
		const seen = new Map<string, Uint8Array>();
		for await (const { name, bytes } of folder.tensors()) seen.set(name, bytes.slice());
		expect(seen.get("transformer.head.weight")).toEqual(await weights.read("head.weight"));
		expect(seen.get("vae.decoder.conv_out.conv.bias")).toEqual(await vae.read("vae.decoder.conv_out.conv.bias"));
		await expect(write({}, [weights])).rejects.toThrow(
			/No vae is in the checkpoints given \(such as decoder\.conv_in\.conv\.weight\): weights\.pth holds/,
		);
	});

	it.each([
		["f16", 1e-3],
		["int8", 5e-3],
		["int4", 8e-2],
	] as const)("%s keeps to its error, as --check reads it back", async (dtype, bound) => {
		const errors: RoundTrip[] = [];
		const manifest = await write({ dtype, group: 64, checked: (error) => void errors.push(error) });
		expect(errors.map(({ name }) => name)).toEqual(infinityTensors(SMALL).map(({ name }) => name));
		for (const { name, relative, rms } of errors) expect(Math.max(relative, rms / 2), name).toBeLessThan(bound);
		expect(Math.max(...errors.map(({ rms }) => rms))).toBeGreaterThan(bound / 100);
		const kv = manifest.tensors.find(({ name }) => name === "transformer.text_proj_for_sos.ca.mat_kv.weight");
		if (dtype === "f16") {
			expect(kv).toMatchObject({ dtype: "F16" });
			for await (const _ of (await openModelFolder(join(dir, "out"))).tensors());
			return;
		}
		expect(kv).toMatchObject({
			dtype: dtype === "int8" ? "I8" : "I4",
			shape: [16, 128],
			bytes: dtype === "int8" ? 2048 : 1024,
			quantization: { group: 64, scales: `${kv?.name}.scales` },
		});
		expect(manifest.tensors.find(({ name }) => name === `${kv?.name}.scales`)).toMatchObject({
			dtype: "F16",
			shape: [16, 2],
		});
		expect(manifest.tensors.find(({ name }) => name === "transformer.head.weight")).toMatchObject({ dtype: "F16" });
		expect(manifest.tensors.find(({ name }) => name === "transformer.head.bias")).toMatchObject({ dtype: "F32" });
		expect(plannedTensors(infinityTensors(SMALL), dtype, 64)).toEqual(
			manifest.tensors.map(({ shard: _, offset: __, bytes: ___, ...tensor }) => tensor),
		);
	});

	it("a manifest whose quantization contradicts itself is refused", async () => {
		await write({ dtype: "int4" });
		const text = await readFile(join(dir, "out", "manifest.json"), "utf8");
		const broken = (edit: (quantized: any, all: any[]) => void) => {
			const manifest = JSON.parse(text);
			edit(
				manifest.tensors.find((tensor: any) => tensor.dtype === "I4"),
				manifest.tensors,
			);
			return () => parseManifest(JSON.stringify(manifest));
		};
		expect(broken((tensor) => delete tensor.quantization)).toThrow(/I4 needs a quantization/);
		expect(broken((tensor) => (tensor.quantization.group = 64))).toThrow(/its scales .* are not F16 \[16,2\]/);
		expect(broken((tensor) => (tensor.quantization.group = 48))).toThrow(/quantization\.group/);
		expect(broken((tensor) => (tensor.quantization.scales = "nothing"))).toThrow(/its scales nothing are not/);
		expect(
			broken((tensor, all) => {
				const scales = all.find(({ name }) => name === tensor.quantization.scales);
				tensor.quantization.scales = scales.name = "text_encoder.scales";
			}),
		).toThrow(/its scales are named text_encoder\.scales, not transformer\..*\.scales/);
		expect(
			broken((_, all) => (all.find(({ dtype }) => dtype === "F16").quantization = { group: 32, scales: "x" })),
		).toThrow(/F16 has no quantization/);
	});
});

describe("a text encoder", () => {
	const t5 = fileURLToPath(new URL("../../test/reference/t5-tiny", import.meta.url));
	const textual: Family<InfinityConfig> = {
		...family,
		published: {
			sizes: ["small"],
			describe: () => ({ head: { ...SMALL_HEAD, config: { ...SMALL, textChannels: 32 } } }),
		},
	};

	it("without a tokenizer is refused before anything is read, but where that is meant", async () => {
		const imported = (tokenizer?: null) =>
			importPublished(textual, "small", [weights, vae], { out: join(dir, "text"), textEncoder: t5, tokenizer });
		await expect(imported()).rejects.toThrow(
			/^There is no tokenizer beside the text encoder .*t5-tiny.* \(tokenizer\.json, .*Name it with --tokenizer FILE\./,
		);
		// By then it is the picture model that does not fit.
		await expect(imported(null)).rejects.toThrow(/does not fit the configuration/);
	});

	it.runIf(existsSync("/proc/self/fd"))("that is none leaves no file open", async () => {
		const folder = join(dir, "twice");
		await mkdir(folder);
		await cp(join(t5, "config.json"), join(folder, "config.json"));
		const one = { dtype: "F32", shape: [1], bytes: new Uint8Array(4) };
		await writeSafetensors(join(folder, "model.safetensors"), { a: one, "_orig_mod.a": one });
		await expect(openTextEncoder(folder)).rejects.toThrow(/holds both a and _orig_mod\.a/);
		const open = (await readdir("/proc/self/fd")).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => ""));
		expect((await Promise.all(open)).filter((path) => path.startsWith(folder))).toEqual([]);
	});
});

describe("official lists", () => {
	it("with spatial patchify are those of the recorded checkpoint", async () => {
		const shapesIn = async (file: string) => {
			await using source = await openSafetensors(
				fileURLToPath(new URL(`../../test/reference/infinity-patchify-tiny/${file}.safetensors`, import.meta.url)),
			);
			return [...source.tensors].map(([name, { shape }]): [string, number[]] => [
				`${file === "vae" ? "vae" : "transformer"}.${name}`,
				shape,
			]);
		};
		const config = {
			...publishedInfinity("8b").config,
			depth: 2,
			width: 64,
			heads: 2,
			ffn: 256,
			chunkBlocks: 1,
			textChannels: 128,
			textMaxTokens: 64,
			poolHeads: 1,
			bits: 8,
			vae: { baseChannels: 32, multipliers: [1, 2, 1, 1], residualBlocks: 1, normGroups: 32, normEps: 1e-6 },
		};
		const made = Object.fromEntries(infinityTensors(config).map(({ name, shape }) => [name, shape]));
		const expected = Object.fromEntries(
			[...(await shapesIn("weights")), ...(await shapesIn("vae"))].filter(([name]) => !infinity.unused.test(name)),
		);
		expect(made).toEqual(expected);
	});

	it("give every tokenizer its bits, and the 8B four times as many a token", () => {
		for (const name of Object.keys(TOKENIZERS) as (keyof typeof TOKENIZERS)[]) {
			const shapes = new Map(
				infinityTensors({ ...SMALL, bits: TOKENIZERS[name].bits, vae: tokenizerConfig(name) }).map(
					({ name, shape }) => [name, shape],
				),
			);
			expect(shapes.get("vae.decoder.conv_in.conv.weight")).toEqual([512, TOKENIZERS[name].bits, 3, 3]);
			expect(shapes.has("vae.decoder.up.4.upsample.conv.conv.weight")).toBe(TOKENIZERS[name].patch === 16);
		}
		const { config, schedules } = publishedInfinity("8b");
		expect(infinityTensors(config).find(({ name }) => name === "transformer.word_embed.weight")?.shape).toEqual([
			3584, 56,
		]);
		expect(schedules["1:1"].image).toEqual({ height: 1024, width: 1024 });
		expect(() => publishedInfinity("3b")).toThrow(/There are: 125m, 2b, 8b, 8b-512/);
	});
});
