/** Checkpoints as training scripts save them, and files that are none. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Family } from "../../worker/families/family.ts";
import type { InfinityConfig } from "../../worker/families/infinity/config.ts";
import { infinity } from "../../worker/families/infinity/index.ts";
import { infinityTensors } from "../../worker/families/infinity/tensors.ts";
import { openModelFolder } from "../open.ts";
import { SMALL, SMALL_HEAD, safetensorsBytes } from "../testing.ts";
import { openCheckpoint } from "./checkpoint.ts";
import type { TensorSource } from "./formats/tensor-source.ts";
import { importPublished } from "./published.ts";
import { syntheticSource, writePth } from "./synthetic.ts";

const dir = await mkdtemp(join(tmpdir(), "wrapped-"));
afterAll(() => rm(dir, { recursive: true }));

const family: Family<InfinityConfig> = {
	...infinity,
	published: { sizes: ["small"], describe: () => ({ head: SMALL_HEAD }) },
};
const officialOf = (prefix: string) =>
	infinityTensors(SMALL).flatMap(({ name, shape }) =>
		name.startsWith(prefix) ? [{ name: name.slice(prefix.length), shape }] : [],
	);
const weights = syntheticSource("weights", officialOf("transformer."), "F32");
const vae = syntheticSource("vae", officialOf("vae."), "F32");

/** The same tensors under other names, and some beside them. */
function renamed(source: TensorSource, as: (name: string) => string, beside: readonly string[] = []): TensorSource {
	const official = new Map([...source.tensors.keys()].map((name) => [as(name), name]));
	const other = { dtype: "F32", shape: [2], bytes: 8 };
	return {
		label: "wrapped",
		tensors: new Map([
			...beside.map((name) => [name, other] as const),
			...[...official].map(([name, own]) => [name, source.tensors.get(own) as typeof other] as const),
		]),
		async read(name, from, to) {
			const own = official.get(name);
			return own === undefined ? new Uint8Array(8).slice(from, to) : await source.read(own, from, to);
		},
	};
}

let folders = 0;
async function digestOf(...checkpoints: (string | TensorSource)[]): Promise<string> {
	const out = join(dir, `out-${folders++}`);
	await importPublished(family, "small", checkpoints, { out });
	return (await openModelFolder(out)).digest;
}
const plain = digestOf(weights, vae);

/** Behind the name of every block, as wrappers of single blocks are. */
const within = (wrapper: string) => (name: string) => name.replace(/(\.module\.\d+\.)/, `$1${wrapper}.`);

describe("the same model comes of", () => {
	it.each([
		["torch.compile", (name: string) => `_orig_mod.${name}`, []],
		["torch.compile of every block", within("_orig_mod"), []],
		["DDP", (name: string) => `module.${name}`, []],
		["DDP compiled", (name: string) => `_orig_mod.module.${name}`, []],
		["FSDP", (name: string) => `_fsdp_wrapped_module.${within("_fsdp_wrapped_module")(name)}`, []],
		["FSDP and activation checkpoints", within("_fsdp_wrapped_module._checkpoint_wrapped_module"), []],
		["an average of the weights", (name: string) => `ema_model.module.${name}`, ["initted", "step"]],
		["timm's average", (name: string) => `state_dict_ema.${name}`, ["epoch"]],
		["a training script", (name: string) => `trainer.gpt_fsdp._orig_mod.${name}`, ["optimizer.state.0.exp_avg"]],
		["Lightning", (name: string) => `state_dict.model.net.${name}`, ["hyper_parameters.lr"]],
	])("%s", async (_, as, beside) => {
		expect(await digestOf(renamed(weights, as, beside), vae)).toBe(await plain);
	});

	it("weights beside their average: the weights are taken", async () => {
		const both = renamed(
			weights,
			(name) => `model.${name}`,
			[...weights.tensors.keys()].map((name) => `model_ema.${name}`),
		);
		expect(await digestOf(both, vae)).toBe(await plain);
	});

	it("names that meet without their wrappers, and FSDP's flat parameters, are refused", async () => {
		const meeting = renamed(weights, (name) => `_orig_mod.${name}`, ["head.weight"]);
		await expect(digestOf(meeting, vae)).rejects.toThrow(/wrapped holds both head\.weight and _orig_mod\.head\.weight/);
		const flat = renamed(weights, (name) => name, ["_fsdp_wrapped_module._flat_param"]);
		await expect(digestOf(flat, vae)).rejects.toThrow(/FSDP's flattened parameters.*FULL_STATE_DICT/);
	});
});

describe("cut checkpoints", () => {
	const names = [...weights.tensors.keys()];
	const half = (part: 0 | 1) => names.filter((_, i) => i % 2 === part);
	const partOf = (part: 0 | 1): TensorSource => ({
		...weights,
		tensors: new Map([...weights.tensors].filter(([name]) => half(part).includes(name))),
	});
	const file = (part: number, end: string) => `model-0000${part + 1}-of-00002.${end}`;
	const indexed = (end: string) => ({
		metadata: { total_size: 1 },
		weight_map: Object.fromEntries(names.map((name, i) => [name, file(i % 2, end)])),
	});
	const bytesOf = async (source: TensorSource) =>
		safetensorsBytes(
			Object.fromEntries(
				await Promise.all(
					[...source.tensors].map(
						async ([name, { dtype, shape }]) => [name, { dtype, shape, bytes: await source.read(name) }] as const,
					),
				),
			),
		);

	it.each(["safetensors", "bin"])("are read by their index, and without one: %s", async (end) => {
		const folder = await mkdtemp(join(dir, "cut-"));
		for (const part of [0, 1] as const) {
			const path = join(folder, file(part, end));
			if (end === "bin") await writePth(path, partOf(part));
			else await writeFile(path, await bytesOf(partOf(part)));
		}
		expect(await digestOf(folder, vae)).toBe(await plain);
		const index = join(folder, end === "bin" ? "pytorch_model.bin.index.json" : "model.safetensors.index.json");
		await writeFile(index, JSON.stringify(indexed(end)));
		expect(await digestOf(folder, vae)).toBe(await plain);
		expect(await digestOf(index, vae)).toBe(await plain);
		await rm(index);
		await rm(join(folder, file(1, end)));
		await writeFile(join(folder, file(2, end)), "");
		await expect(openCheckpoint(folder)).rejects.toThrow(/Name the one to read/);
	});

	it("torch's distributed form is refused, with the way to another", async () => {
		const folder = await mkdtemp(join(dir, "distributed-"));
		await writeFile(join(folder, "__0_0.distcp"), "x");
		await expect(openCheckpoint(folder)).rejects.toThrow(/distributed checkpoint.*dcp_to_torch_save/);
	});
});

it.each([
	["an old pickle", 0x0280],
	["a web page", 0x613c],
	["gzip", 0x8b1f],
])("a safetensors file whose length begins like %s is one", async (_, length) => {
	const tensor = { dtype: "F32", shape: [1], data_offsets: [0, 4] };
	const text = JSON.stringify({ a: tensor }).padEnd(length, " ");
	const file = new Uint8Array(8 + length + 4);
	new DataView(file.buffer).setBigUint64(0, BigInt(length), true);
	file.set(new TextEncoder().encode(text), 8);
	const path = join(dir, "looks.safetensors");
	await writeFile(path, file);
	await using source = await openCheckpoint(path);
	expect(source.tensors.get("a")).toMatchObject({ shape: [1] });
});

const latin = (text: string) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
it.each([
	["a web page", "<!DOCTYPE html><html>", /web page/],
	["a web page behind a mark and blanks", "\u00ef\u00bb\u00bf\n  <html lang='en'>", /web page/],
	["a bucket's XML", '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', /web page/],
	["a JSON answer", '{"error":"Repository not found"}', /server's answer/],
	["a line of text", "Entry not found", /server's answer/],
	[
		"a line with an end",
		"Access to model X is restricted. You must be authenticated to access it.\n",
		/server's answer/,
	],
	["Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", /Git LFS pointer/],
	["Xet", "# xet version 0\nfilesize = 3\n", /Xet pointer/],
	["git-annex", "/annex/objects/SHA256E-s1--0.pth\n", /git-annex pointer/],
	["GGUF", "GGUF\x03\0\0\0\0\0\0\0", /GGUF/],
	["HDF5", "\x89HDF\r\n\x1a\n", /HDF5/],
	["NumPy", "\x93NUMPY\x01\0", /NumPy/],
	["gzip", "\x1f\x8b\x08\0\0\0\0\0", /compressed archive/],
	["tar", `${"a.pth".padEnd(257, "\0")}ustar\0`.padEnd(512, "\0"), /tar archive/],
	["nothing", "", /is empty/],
])("%s is named as such", async (_, text, message) => {
	const path = join(dir, "other.safetensors");
	await writeFile(path, latin(text));
	await expect(openCheckpoint(path)).rejects.toThrow(message);
	await expect(openCheckpoint(path)).rejects.toThrow(path);
});
