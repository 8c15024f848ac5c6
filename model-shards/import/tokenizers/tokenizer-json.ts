/** A text tokenizer as `tokenizer.json`: as published, or made from the files that came before it. */
import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { largestId, promptTokenizer } from "../../../worker/families/text/tokenizer.ts";
import { ModelFormatError } from "../../format/errors.ts";
import { parseJson } from "../../format/json.ts";
import { clipTokenizer } from "./clip.ts";
import { t5Tokenizer } from "./sentencepiece.ts";

/** Larger than any text tokenizer. */
const MAX_BYTES = 64 * 2 ** 20;

/**
 * `path`: a `.json`, which is taken as it is; SentencePiece's `.model`, as T5 has it; or CLIP's `merges.txt` with
 * `vocab.json` beside it. Throws ModelFormatError for one that is no tokenizer, or has ids beyond the `vocabulary` that
 * they are looked up in.
 */
export async function tokenizerJson(path: string, vocabulary = Number.POSITIVE_INFINITY): Promise<Uint8Array> {
	const bytes = await converted(path);
	const json = parseJson(bytes, path);
	const largest = largestOf(json, path);
	if (largest >= vocabulary)
		throw new ModelFormatError(
			`${path} has ids up to ${largest}; the text encoder knows ${vocabulary}. Give the tokenizer that belongs to it.`,
		);
	return bytes;
}

/** The largest id of a tokenizer that can be built. */
function largestOf(json: unknown, path: string): number {
	try {
		promptTokenizer(json, Number.POSITIVE_INFINITY);
		return largestId(json);
	} catch (error) {
		throw new ModelFormatError(
			`${path} is no tokenizer.json that can be read. Give the file that was published by that name.`,
			{ cause: error },
		);
	}
}

async function converted(path: string): Promise<Uint8Array> {
	if (path.endsWith(".model")) return text(t5Tokenizer(await read(path), path));
	if (basename(path) === "merges.txt")
		return text(clipTokenizer(`${await read(path)}`, `${await read(join(dirname(path), "vocab.json"))}`, path));
	return await read(path);
}

const text = (json: object): Uint8Array => new TextEncoder().encode(JSON.stringify(json));

async function read(path: string): Promise<Buffer> {
	const found = await stat(path).catch(() => null);
	if (!found?.isFile()) throw new ModelFormatError(`There is no tokenizer file ${path}.`);
	if (found.size > MAX_BYTES)
		throw new ModelFormatError(`${path} has ${found.size} bytes; a text tokenizer has ${MAX_BYTES} at most.`);
	return await readFile(path);
}
