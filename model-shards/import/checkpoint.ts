/**
 * Opens a checkpoint as it was published: one file, or an index and the files it names. The content tells the format,
 * not the name.
 */
import { readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { ModelFormatError } from "../format/errors.ts";
import { formed, parseJson } from "../format/json.ts";
import { PlainFile } from "../format/manifest.ts";
import { openFile, readExactly } from "../format/source/files.ts";
import { jsonProblem } from "./formats/json.ts";
import { openPth } from "./formats/pth.ts";
import { openSafetensors } from "./formats/safetensors.ts";
import { joined, MAX_TENSORS, type OpenTensorSource } from "./formats/tensor-source.ts";

const MAX_INDEX_BYTES = 16 * 2 ** 20;
const MAX_FILES = 1000;
const Index = z.looseObject({ weight_map: z.record(z.string().max(1024), PlainFile) });

/**
 * `path`: a `.safetensors` or `.pth` (`.pt`, `.bin`, `.ckpt`) file, an `*.index.json`, or a folder with one of these.
 */
export async function openCheckpoint(path: string): Promise<OpenTensorSource> {
	const found = await stat(path).catch(() => null);
	if (found?.isDirectory()) return await openCheckpoint(join(path, await theCheckpoint(path)));
	if (path.endsWith(".json")) return await openIndex(path);
	const head = await readHead(path);
	if (head.startsWith("PK\x03\x04") || head.charCodeAt(0) === 0x80) return await openPth(path);
	if (head.startsWith("version https://git-lfs"))
		throw new ModelFormatError(
			`${path} is a Git LFS pointer, not the file it stands for. Run "git lfs pull" where it came from, or ` +
				"download the file itself.",
		);
	if (head.startsWith("<"))
		throw new ModelFormatError(`${path} is a web page, not a checkpoint. Download the file itself.`);
	return await openSafetensors(path);
}

async function readHead(path: string): Promise<string> {
	await using handle = await openFile(path);
	const { size } = await handle.stat();
	const head = new Uint8Array(Math.min(size, 32));
	await readExactly(handle, head, 0, path);
	return String.fromCharCode(...head);
}

async function theCheckpoint(dir: string): Promise<string> {
	const files = (await readdir(dir)).sort();
	for (const kind of [/\.safetensors\.index\.json$/, /\.index\.json$/, /\.safetensors$/, /\.(pth|pt|bin|ckpt)$/]) {
		const of = files.filter((file) => kind.test(file));
		if (of.length > 1) throw new ModelFormatError(`${dir} holds ${of.join(", ")}. Name the one to read.`);
		if (of.length === 1) return of[0];
	}
	throw new ModelFormatError(`${dir} holds no checkpoint: no .safetensors, .pth, .pt, .bin or .index.json.`);
}

async function openIndex(path: string): Promise<OpenTensorSource> {
	const weightMap = await readIndex(path);
	const files = [...new Set(Object.values(weightMap))].sort();
	if (files.length > MAX_FILES)
		throw new ModelFormatError(`${path} names ${files.length} files, more than ${MAX_FILES}.`);
	const resources = new AsyncDisposableStack();
	try {
		const sources = [];
		for (const file of files) {
			const source = resources.use(await openCheckpoint(join(dirname(path), file)));
			const names = new Set(Object.keys(weightMap).filter((name) => weightMap[name] === file));
			for (const name of names) {
				if (!source.tensors.has(name))
					throw new ModelFormatError(`${path} looks for ${name} in ${file}, which lacks it. Download both again.`);
			}
			sources.push({ ...source, tensors: new Map([...source.tensors].filter(([name]) => names.has(name))) });
		}
		return { ...joined(path, sources), [Symbol.asyncDispose]: () => resources.disposeAsync() };
	} catch (error) {
		await resources.disposeAsync();
		throw error;
	}
}

async function readIndex(path: string): Promise<Record<string, string>> {
	await using handle = await openFile(path);
	const { size } = await handle.stat();
	if (size > MAX_INDEX_BYTES)
		throw new ModelFormatError(`${path} has ${size} bytes; an index has at most ${MAX_INDEX_BYTES}.`);
	const bytes = new Uint8Array(size);
	await readExactly(handle, bytes, 0, path);
	const text = new TextDecoder().decode(bytes);
	const problem = jsonProblem(text, { maxDepth: 8, maxKeys: 2 * MAX_TENSORS });
	if (problem) throw new ModelFormatError(`${path} ${problem}. Download it again.`);
	const json = parseJson(text, path, "Download it again.");
	return formed(Index, json, `${path} is not the index of a checkpoint`).weight_map;
}
