/** A text tokenizer as `tokenizer.json`: as published, or made from the files that came before it. */
import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { promptTokenizer } from "../../../worker/families/text/tokenizer.ts";
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
	const largest = largestId(json, path);
	if (largest >= vocabulary)
		throw new ModelFormatError(
			`${path} has ids up to ${largest}; the text encoder knows ${vocabulary}. Give the tokenizer that belongs to it.`,
		);
	return bytes;
}

const Vocabulary = z.object({
	model: z.object({ vocab: z.union([z.record(z.string(), z.int().min(0)), z.array(z.unknown())]) }),
	added_tokens: z.array(z.object({ id: z.int().min(0) })).default([]),
});

/** Of a tokenizer that can be built. */
function largestId(json: unknown, path: string): number {
	try {
		promptTokenizer(json, Number.POSITIVE_INFINITY);
		const { model, added_tokens } = Vocabulary.parse(json);
		const own = Array.isArray(model.vocab) ? [model.vocab.length - 1] : Object.values(model.vocab);
		return [...own, ...added_tokens.map(({ id }) => id)].reduce((most, id) => Math.max(most, id), 0);
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
