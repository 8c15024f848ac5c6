import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, expect, it } from "vitest";
import { changedPickles, hostilePth } from "./pth.ts";
import type { Hostile } from "./random.ts";
import type { Outcome } from "./read.ts";
import { hostileSafetensors } from "./safetensors.ts";

const dir = await mkdtemp(join(tmpdir(), "hostile-"));
afterAll(() => rm(dir, { recursive: true }));
const samples = fileURLToPath(new URL("../../../../test/reference/pth-samples/", import.meta.url));
const load = async (names: string[]) =>
	Object.fromEntries(
		await Promise.all(names.map(async (name) => [name, new Uint8Array(await readFile(join(samples, name)))] as const)),
	);

/** Runs the reader over files in a process of its own. */
async function readAll(from: string, files: string[]): Promise<{ outcomes: Outcome[]; peakBytes: number }> {
	const { stdout } = await promisify(execFile)(
		process.execPath,
		[fileURLToPath(new URL("./read.ts", import.meta.url)), from, ...files],
		{ maxBuffer: 2 ** 26 },
	);
	const lines = stdout
		.trim()
		.split("\n")
		.map((line) => JSON.parse(line));
	return { outcomes: lines.slice(0, -1), peakBytes: lines.at(-1).peakBytes };
}

async function expectContained(hostile: Hostile[], extension: string, sound: Map<string, string>): Promise<void> {
	const files = hostile.map((_, i) => `${i}.${extension}`);
	for (const [i, { bytes }] of hostile.entries()) await writeFile(join(dir, files[i]), bytes);
	// Large files get a process each: what one leaves to the garbage collector must not count for the next.
	const large = files.filter((_, i) => hostile[i].bytes.length > 2 ** 20);
	const runs = [
		await readAll(
			dir,
			files.filter((file) => !large.includes(file)),
		),
	];
	for (const file of large) runs.push(await readAll(dir, [file]));
	const outcomes = runs.flatMap(({ outcomes }) => outcomes);
	const wrong = outcomes.flatMap(({ file, sha256, message, known, milliseconds }) => {
		const { name, expect, seed } = hostile[files.indexOf(file)];
		const problems = [
			!known && "another error",
			sha256 === null && !message.includes(join(dir, file)) && "does not name the file",
			expect === "refused" && sha256 !== null && "was read",
			expect === "harmless" && sha256 !== null && sha256 !== sound.get(seed as string) && "was read as something else",
			milliseconds >= 1000 && `took ${Math.round(milliseconds)} ms`,
		].filter(Boolean);
		return problems.length > 0 ? [`${name}: ${problems.join(", ")}: ${message.slice(0, 300)}`] : [];
	});
	expect(wrong).toEqual([]);
	expect(outcomes).toHaveLength(hostile.length);
	expect(Math.max(...runs.map(({ peakBytes }) => peakBytes))).toBeLessThan(256 * 2 ** 20);
}

const SAFETENSORS = ["dtypes.expected.safetensors", "views.expected.safetensors", "nested_vae.expected.safetensors"];
const PTH = ["dtypes.pth", "views.pth", "nested_vae.pth", "ordered_parameters.pth"];
const seeds = { ...(await load(SAFETENSORS)), ...(await load(PTH)) };
const sound = new Map(
	(await readAll(samples, Object.keys(seeds))).outcomes.map(({ file, sha256 }) => [file, sha256 as string]),
);
const pick = (names: string[]) => Object.fromEntries(names.map((name) => [name, seeds[name]]));

it("a hundred hostile safetensors files are refused by name or read as they were, in 1 s and 256 MiB", async () => {
	const hostile = [...hostileSafetensors(pick(SAFETENSORS), 100)];
	expect(hostile).toHaveLength(100);
	await expectContained(hostile, "safetensors", sound);
});

it("so are two hundred hostile .pth files", async () => {
	const hostile = [...hostilePth(pick(PTH), 200)];
	expect(hostile).toHaveLength(200);
	await expectContained(hostile, "pth", sound);
});

it("changed pickles with a right checksum are contained too", async () => {
	const { pickles, storages } = await unpacked(PTH);
	const hostile = [...changedPickles(pickles, storages, 75)];
	expect(hostile).toHaveLength(300);
	await expectContained(hostile, "pth", sound);
});

/** The pickle and the storages of sound archives, by a plain scan over the entries. */
async function unpacked(
	names: string[],
): Promise<{ pickles: Record<string, Uint8Array>; storages: Record<string, Record<string, Uint8Array>> }> {
	const { readZip } = await import("../zip.ts");
	const { openFile } = await import("../../../format/source/files.ts");
	const pickles: Record<string, Uint8Array> = {};
	const storages: Record<string, Record<string, Uint8Array>> = {};
	for (const name of names) {
		await using handle = await openFile(join(samples, name));
		const zip = await readZip(handle, seeds[name].length, name);
		storages[name] = {};
		for (const [entry, bytes] of zip.entries) {
			const content = new Uint8Array(bytes);
			await zip.read(entry, 0, content);
			if (entry.endsWith("data.pkl")) pickles[name] = content;
			else storages[name][entry.replace(/^[^/]+/, "a")] = content;
		}
	}
	return { pickles, storages };
}
