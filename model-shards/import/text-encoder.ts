/** A published text encoder: a folder as the transformers library saves it, or a checkpoint file in one. */
import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { TextEncoderConfig } from "../../worker/families/text/config.ts";
import { textEncoderFromReference } from "../../worker/families/text/official.ts";
import { TEXT_PREFIX, textTensors } from "../../worker/families/text/tensors.ts";
import { readJson } from "../format/source/files.ts";
import type { TensorShape } from "../format/tensor-shapes.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { stateDict, type TensorSource } from "./formats/tensor-source.ts";
import type { Found } from "./tensors.ts";

export interface PublishedTextEncoder {
	config: TextEncoderConfig;
	wanted: TensorShape[];
	/** By the model's names. */
	found: Map<string, Found>;
	label: string;
	/** Path of its tokenizer, where there is one: beside it, or in a folder `tokenizer` beside its own. */
	tokenizer: string | null;
}

/** Names that the library gives its files, in the order they are looked for. */
const CHECKPOINTS = ["model.safetensors.index.json", "model.safetensors"];
export const TOKENIZERS: readonly string[] = ["tokenizer.json", "spiece.model", "merges.txt"];

/** The encoder in an open checkpoint, wherever in it the state_dict is. */
export function textEncoderIn(
	source: TensorSource,
	config: TextEncoderConfig,
	tokenizer: string | null = null,
): PublishedTextEncoder {
	const wanted = textTensors(config);
	const state = stateDict(
		source,
		wanted.map(({ name }) => name.slice(TEXT_PREFIX.length)),
	);
	const found = new Map(
		[...state.tensors].map(([sourceName, tensor]): [string, Found] => [
			TEXT_PREFIX + sourceName,
			{ source: state, sourceName, tensor },
		]),
	);
	return { config, wanted, found, label: source.label, tokenizer };
}

/**
 * `path`: a folder with `config.json` and a checkpoint (one file, or an index and its parts), or one of several
 * checkpoints in it.
 */
export async function openTextEncoder(path: string): Promise<PublishedTextEncoder & AsyncDisposable> {
	const dir = (await isThere(path, "folder")) ? path : dirname(path);
	const where = join(dir, "config.json");
	const folders = [dir, join(dir, "..", "tokenizer")];
	const padding = await first(folders, ["tokenizer_config.json"]);
	const config = textEncoderFromReference(
		await readJson(where),
		where,
		padding === null ? undefined : await readJson(padding),
	);
	const tokenizer = await first(folders, TOKENIZERS);
	await using opened = new AsyncDisposableStack();
	const source = opened.use(await openCheckpoint(path === dir ? ((await first([dir], CHECKPOINTS)) ?? dir) : path));
	const encoder = textEncoderIn(source, config, tokenizer);
	const owned = opened.move();
	return { ...encoder, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function first(folders: readonly string[], files: readonly string[]): Promise<string | null> {
	for (const folder of folders)
		for (const file of files) if (await isThere(join(folder, file), "file")) return join(folder, file);
	return null;
}

async function isThere(path: string, what: "file" | "folder"): Promise<boolean> {
	const found = await stat(path).catch(() => null);
	return (what === "file" ? found?.isFile() : found?.isDirectory()) ?? false;
}
