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
/** An index of indices is none. */
const Part = PlainFile.refine((file) => !file.endsWith(".json"), "must name files of weights");
const Index = z.looseObject({ weight_map: z.record(z.string().max(1024), Part) });

/**
 * `path`: a `.safetensors` or `.pth` (`.pt`, `.bin`, `.ckpt`) file, an `*.index.json`, or a folder with one of these,
 * or with all parts of one.
 */
export async function openCheckpoint(path: string): Promise<OpenTensorSource> {
	const found = await stat(path).catch(() => null);
	if (found?.isDirectory()) {
		const files = (await theCheckpoint(path)).map((file) => join(path, file));
		return files.length === 1 ? await openCheckpoint(files[0]) : await openParts(path, files);
	}
	if (path.endsWith(".json")) return await openIndex(path);
	const head = await readHead(path);
	// First, since the length that such a file begins with can look like anything.
	if (isSafetensors(head)) return await openSafetensors(path);
	if (head.startsWith("PK\x03\x04") || head.charCodeAt(0) === 0x80) return await openPth(path);
	refuseOthers(path, head);
	return await openSafetensors(path);
}

/** A length below 4 GB, then a JSON object. */
const isSafetensors = (head: string): boolean => head.slice(4, 9) === "\0\0\0\0{";
const HEAD_BYTES = 512;
const DOWNLOAD = "Download the file itself";

/** What is saved or kept in a checkpoint's place, by its first bytes, and what to do. */
const OTHERS: readonly { begins: RegExp | readonly string[]; what: string; advice: string }[] = [
	{
		begins: ["version https://git-lfs"],
		what: "a Git LFS pointer, not the file it stands for",
		advice: 'Run "git lfs pull" where it came from, or download the file itself',
	},
	{ begins: ["# xet version"], what: "a Xet pointer, not the file it stands for", advice: DOWNLOAD },
	{
		begins: /^(\.\.\/)*\.git\/annex\/|^\/annex\/objects\//,
		what: "a git-annex pointer, not the file it stands for",
		advice: 'Run "git annex get"',
	},
	{ begins: /^(\u00ef\u00bb\u00bf)?\s*<[!?a-z]/i, what: "a web page, not a checkpoint", advice: DOWNLOAD },
	{
		begins: /^\s*\{\s*"(error|message|detail|status|statusCode)"|^[A-Z][\w' ,.-]{5,200}[\r\n]*$/,
		what: "a line of text or a server's answer, not a checkpoint",
		advice: `It may say what was wrong with the download. ${DOWNLOAD}`,
	},
	{
		begins: ["GGUF", "lmgg", "fmgg", "tjgg", "algg"],
		what: "a GGUF or GGML file, whose tensors are renamed and packed for another engine",
		advice: "Import from the checkpoint that it was made of",
	},
	{
		begins: ["\x89HDF\r\n"],
		what: "an HDF5 file, as Keras writes them",
		advice: "Import from a PyTorch or safetensors file",
	},
	{ begins: ["\x93NUMPY"], what: "a single NumPy array", advice: "Import from a PyTorch or safetensors file" },
	{
		begins: ["\x1f\x8b", "\xfd7zXZ", "\x28\xb5\x2f\xfd", "BZh", "7z\xbc\xaf", "Rar!"],
		what: "a compressed archive",
		advice: "Unpack it, and name the checkpoint in it",
	},
];
/** Where a tar archive says that it is one. */
const TAR = { at: 257, mark: "ustar" };

/** Throws ModelFormatError for a file that is known to be something else. */
function refuseOthers(path: string, head: string): void {
	const other = OTHERS.find(({ begins }) =>
		begins instanceof RegExp ? begins.test(head) : begins.some((mark) => head.startsWith(mark)),
	);
	if (other) throw new ModelFormatError(`${path} is ${other.what}. ${other.advice}.`);
	if (head.startsWith(TAR.mark, TAR.at))
		throw new ModelFormatError(`${path} is a tar archive. Unpack it, and name the checkpoint in it.`);
}

async function readHead(path: string): Promise<string> {
	await using handle = await openFile(path);
	const { size } = await handle.stat();
	if (size === 0) throw new ModelFormatError(`${path} is empty. Download it again.`);
	const head = new Uint8Array(Math.min(size, HEAD_BYTES));
	await readExactly(handle, head, 0, path);
	return Array.from(head, (byte) => String.fromCharCode(byte)).join("");
}

/** The file, or all parts of one that was cut without an index. */
async function theCheckpoint(dir: string): Promise<string[]> {
	const files = (await readdir(dir)).sort();
	for (const kind of [/\.safetensors\.index\.json$/, /\.index\.json$/, /\.safetensors$/, /\.(pth|pt|bin|ckpt)$/]) {
		const of = files.filter((file) => kind.test(file));
		if (of.length > 1 && isWhole(of)) return of;
		if (of.length > 1) throw new ModelFormatError(`${dir} holds ${of.join(", ")}. Name the one to read.`);
		if (of.length === 1) return of;
	}
	if (files.some((file) => file.endsWith(".distcp")))
		throw new ModelFormatError(
			`${dir} is a distributed checkpoint (.distcp), with parts of tensors in each file. Make one of it with ` +
				"torch.distributed.checkpoint.format_utils.dcp_to_torch_save.",
		);
	throw new ModelFormatError(`${dir} holds no checkpoint: no .safetensors, .pth, .pt, .bin or .index.json.`);
}

/** Whether these are `NAME-00001-of-00003` and so on, every one of them. */
function isWhole(files: readonly string[]): boolean {
	const parts = files.map((file) => /^(.*)-0*(\d+)-of-0*(\d+)(\.[a-z]+)$/.exec(file));
	const [first] = parts;
	return (
		first !== null &&
		Number(first[3]) === files.length &&
		parts.every((part, i) => part?.[1] === first[1] && part[4] === first[4] && Number(part[2]) === i + 1)
	);
}

async function openParts(label: string, files: readonly string[]): Promise<OpenTensorSource> {
	const resources = new AsyncDisposableStack();
	try {
		const sources = [];
		for (const file of files) sources.push(resources.use(await openCheckpoint(file)));
		return { ...joined(label, sources), [Symbol.asyncDispose]: () => resources.disposeAsync() };
	} catch (error) {
		await resources.disposeAsync();
		throw error;
	}
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
