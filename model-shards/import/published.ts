/**
 * Imports a published checkpoint whose family and size are named. A family is one file that tells what its sizes are
 * made of.
 */

import { hart } from "../../worker/families/hart/published.ts";
import { infinity } from "../../worker/families/infinity/published.ts";
import { star } from "../../worker/families/star/published.ts";
import { type TextEncoderConfig, textEncoderProblems } from "../../worker/families/text/config.ts";
import { UNUSED_TEXT } from "../../worker/families/text/tensors.ts";
import { var_ } from "../../worker/families/var/published.ts";
import { type Manifest, ModelFormatError } from "../format/manifest.ts";
import type { TensorShape } from "../format/tensor-shapes.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { clip, stateDict, type TensorSource } from "./formats/tensor-source.ts";
import { type Described, type Found, importTensors, type WriteOptions } from "./tensors.ts";
import { openTextEncoder, type PublishedTextEncoder } from "./text-encoder.ts";

/** All of a model but its numbers. */
export interface PublishedModel {
	head: Described;
	wanted: TensorShape[];
	/** Prefixes of the model's names, one for each file it was published as: `transformer.`, `vae.`. */
	parts: string[];
	/** Model names that inference does not read. */
	unused: RegExp;
	/** Those of them that every official transformer holds, beside the constant key biases. Left out: none. */
	unread?: TensorShape[];
}

export interface Family {
	sizes: readonly string[];
	/** Throws ModelFormatError for a size that was not published. */
	describe(size: string): PublishedModel;
}

export const families: Readonly<Record<string, Family>> = { infinity, var: var_, star, hart };

/**
 * Official names and shapes of each file of a published model: all that inference reads, and what else its transformer
 * holds.
 */
export function publishedTensors(family: Family, size: string): TensorShape[][] {
	const { wanted, parts, unread = [] } = family.describe(size);
	return parts.map((prefix) => {
		const official = [...wanted, ...unread].flatMap((tensor) =>
			tensor.name.startsWith(prefix) ? [{ ...tensor, name: tensor.name.slice(prefix.length) }] : [],
		);
		const keyBiases = official
			.filter(({ name }) => name.endsWith(".v_bias"))
			.map(({ name, shape }) => ({ name: name.replace(/v_bias$/, "zero_k_bias"), shape }));
		return [...official, ...keyBiases];
	});
}

export interface PublishedOptions extends WriteOptions {
	name?: string;
	licence?: string;
	/**
	 * Path of the text tokenizer: `tokenizer.json`, SentencePiece's `.model`, or `merges.txt`. Left out: the text
	 * encoder's.
	 */
	tokenizer?: string | null;
	/**
	 * The text encoder, or its path: its folder, or a checkpoint in it. Left out: prompts cannot be drawn, only given
	 * features.
	 */
	textEncoder?: string | PublishedTextEncoder;
}

/** `checkpoints`: the files or folders of the parts in any order; each part is looked for in all of them. */
export async function importPublished(
	family: Family,
	size: string,
	checkpoints: readonly (string | TensorSource)[],
	{ name, licence, tokenizer, textEncoder, ...options }: PublishedOptions,
): Promise<Manifest> {
	const { head, wanted, parts, unused } = family.describe(size);
	await using resources = new AsyncDisposableStack();
	const text = typeof textEncoder === "string" ? resources.use(await openTextEncoder(textEncoder)) : textEncoder;
	const sources: TensorSource[] = [];
	for (const from of checkpoints)
		sources.push(typeof from === "string" ? resources.use(await openCheckpoint(from)) : from);
	const found = new Map<string, Found>(text?.found);
	for (const prefix of parts) {
		const names = wanted.flatMap(({ name }) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []));
		const source = partOf(sources, names, prefix);
		for (const [sourceName, tensor] of source.tensors) found.set(prefix + sourceName, { source, sourceName, tensor });
	}
	return await importTensors(
		{
			found,
			wanted: [...(text?.wanted ?? []), ...wanted],
			unused: text ? new RegExp(`${unused.source}|${UNUSED_TEXT.source}`) : unused,
			label: [...sources, ...(text ? [text] : [])].map((source) => source.label).join(" and "),
			head: {
				...(text ? withText(head, text.config) : head),
				name: name ?? head.name,
				licence: licence ?? head.licence,
			},
			tokenizer: tokenizer ?? text?.tokenizer,
		},
		options,
	);
}

/** The model with this encoder. Throws ModelFormatError when it takes another kind, or another width. */
function withText(head: Described, textEncoder: TextEncoderConfig): Described {
	const { config } = head;
	if (!("textEncoder" in config)) throw new ModelFormatError(`${head.name} takes no text encoder. Leave it out.`);
	const problems = textEncoderProblems(textEncoder, config.textChannels);
	if (problems.length > 0)
		throw new ModelFormatError(`The text encoder does not fit ${head.name}: ${problems.join("; ")}.`);
	return { ...head, config: { ...config, textEncoder } } as Described;
}

/** The state_dict that holds most of `names`. */
function partOf(sources: readonly TensorSource[], names: readonly string[], prefix: string): TensorSource {
	const candidates = sources
		.map((source) => stateDict(source, names))
		.map((source) => ({ source, count: names.filter((name) => source.tensors.has(name)).length }));
	const best = candidates.reduce((a, b) => (b.count > a.count ? b : a));
	if (best.count > 0) return best.source;
	const seen = sources.map(
		({ label, tensors }) => `${label} holds ${clip([...tensors.keys()].slice(0, 4).join(", ")) || "no tensors"}`,
	);
	throw new ModelFormatError(
		`No ${prefix.replace(/\.$/, "")} is in the checkpoints given (such as ${names[0]}): ${seen.join("; ")}. Name its file too.`,
	);
}
