/**
 * Weights of a generated reference set: they follow from a seed and a tensor's name by whole numbers alone, so that a
 * set in the repository needs none. weights.py makes the same ones.
 */
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { formed } from "../../model-shards/format/json.ts";
import { readJson } from "../../model-shards/format/source/files.ts";
import { writeSafetensors } from "../../model-shards/testing.ts";

const Drawn = z.looseObject({
	drawn: z
		.array(
			z.strictObject({
				file: z.enum(["weights.safetensors", "vae.safetensors"]),
				seed: z.int().min(0),
				name: z.string().min(1).max(200),
				shape: z.array(z.int().min(1)).min(1).max(5),
				/** Width of the even distribution, and its middle. */
				spread: z.number().min(0),
				shift: z.number(),
			}),
		)
		.min(1)
		.max(5000),
});
type DrawnTensor = z.infer<typeof Drawn>["drawn"][number];

/** Writes the set in `dir` to `out`, whole. Throws ModelFormatError for another set. */
export async function writeDrawn(dir: string, out: string): Promise<void> {
	const path = join(dir, "manifest.json");
	const { drawn } = formed(Drawn, await readJson(path), `${path} is not of a set that was generated`);
	for (const file of ["manifest.json", "golden.safetensors"])
		if (dir !== out) await copyFile(join(dir, file), join(out, file));
	for (const [file, tensors] of Map.groupBy(drawn, ({ file }) => file)) {
		const raw = tensors.map((tensor) => {
			const bytes = new Uint8Array(numbersOf(tensor).buffer);
			return [tensor.name, { dtype: "F32", shape: tensor.shape, bytes }] as const;
		});
		await writeSafetensors(join(out, file), Object.fromEntries(raw));
	}
}

function numbersOf({ seed, name, shape, spread, shift }: DrawnTensor): Float32Array<ArrayBuffer> {
	const key = keyOf(seed, name);
	const count = shape.reduce((product, side) => product * side, 1);
	return Float32Array.from({ length: count }, (_, i) => (mixed(key, i) / 2 ** 32 - 0.5) * spread + shift);
}

/** FNV-1a over the name's bytes, begun with the seed. */
function keyOf(seed: number, name: string): number {
	let key = (0x811c9dc5 ^ seed) >>> 0;
	for (const byte of new TextEncoder().encode(name)) key = Math.imul(key ^ byte, 0x01000193) >>> 0;
	return key;
}

/** MurmurHash3's finalizer over key + i * golden ratio. */
function mixed(key: number, i: number): number {
	let x = (key + Math.imul(i, 0x9e3779b9)) >>> 0;
	x = Math.imul(x ^ (x >>> 16), 0x85ebca6b) >>> 0;
	x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35) >>> 0;
	return (x ^ (x >>> 16)) >>> 0;
}
