/** Imports a published checkpoint whose family and size are named. */

import type { Described } from "../../worker/families/checkpoints.ts";
import type { Family } from "../../worker/families/family.ts";
import { either, keyBiases } from "../../worker/families/shared/tensors.ts";
import { type TextEncoderConfig, textEncoderProblems } from "../../worker/families/text/config.ts";
import { UNUSED_TEXT } from "../../worker/families/text/tensors.ts";
import { ModelFormatError } from "../format/errors.ts";
import type { Manifest } from "../format/manifest.ts";
import type { TensorShape } from "../format/tensor-shapes.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { clip, stateDict, type TensorSource } from "./formats/tensor-source.ts";
import { type Found, importTensors, type WriteOptions } from "./tensors.ts";
import { openTextEncoder, type PublishedTextEncoder, TOKENIZERS } from "./text-encoder.ts";

/** Prefixes of the model's names, one for each file it was published as. */
const PARTS = ["transformer.", "vae."] as const;

/** Those of the tensors that begin with the prefix, without it. */
const namedUnder = <T extends { name: string }>(tensors: readonly T[], prefix: string): T[] =>
	tensors.flatMap((tensor) =>
		tensor.name.startsWith(prefix) ? [{ ...tensor, name: tensor.name.slice(prefix.length) }] : [],
	);

/**
 * Official names and shapes of each file of a published model, transformer and picture tokenizer: all that inference
 * reads, and what else its transformer holds.
 */
export function publishedTensors(family: Family, size: string): Pick<TensorShape, "name" | "shape">[][] {
	const { head, unread = [] } = family.published.describe(size);
	const tensors = [...family.tensors(head.config), ...unread];
	return PARTS.map((prefix) => namedUnder([...tensors, ...keyBiases(tensors)], prefix));
}

export interface PublishedOptions extends WriteOptions {
	name?: string;
	licence?: string;
	/**
	 * Path of the text tokenizer: `tokenizer.json`, SentencePiece's `.model`, or `merges.txt`. Left out: the text
	 * encoder's, which has to have one. Null: none, and texts are given as token ids.
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
	const published = family.published.describe(size);
	await using resources = new AsyncDisposableStack();
	const text = typeof textEncoder === "string" ? resources.use(await openTextEncoder(textEncoder)) : textEncoder;
	const ofText = tokenizer === undefined ? text?.tokenizer : tokenizer;
	if (text && ofText === null && tokenizer === undefined)
		throw new ModelFormatError(
			`There is no tokenizer beside the text encoder ${text.label} (${TOKENIZERS.join(", ")}), and without one no ` +
				"prompt could be drawn. Name it with --tokenizer FILE.",
		);
	const sources: TensorSource[] = [];
	for (const from of checkpoints)
		sources.push(typeof from === "string" ? resources.use(await openCheckpoint(from)) : from);
	const described = text ? withText(family, published.head, text.config) : published.head;
	const wanted = family.tensors(published.head.config);
	const found = new Map<string, Found>(text?.found);
	for (const prefix of PARTS) {
		const names = namedUnder(wanted, prefix).map(({ name }) => name);
		const source = partOf(sources, names, prefix);
		for (const [sourceName, tensor] of source.tensors) found.set(prefix + sourceName, { source, sourceName, tensor });
	}
	return await importTensors(
		{
			family,
			head: { ...described, name: name ?? described.name, licence: licence ?? described.licence },
			found,
			unused: either(either(family.unused, published.unused), text && UNUSED_TEXT),
			label: [...sources, ...(text ? [text] : [])].map((source) => source.label).join(" and "),
			tokenizer: ofText,
		},
		options,
	);
}

/** The model with this encoder. Throws ModelFormatError when it takes another kind, or another width. */
function withText(family: Family, head: Described, textEncoder: TextEncoderConfig): Described {
	const { text } = family.facts(head.config);
	if (!family.withText || !text) throw new ModelFormatError(`${head.name} takes no text encoder. Leave it out.`);
	const problems = textEncoderProblems(textEncoder, text.channels);
	if (problems.length > 0)
		throw new ModelFormatError(`The text encoder does not fit ${head.name}: ${problems.join("; ")}.`);
	return { ...head, config: family.withText(head.config, textEncoder) };
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
		`No ${prefix.replace(/\.$/, "")} is in the checkpoints given (such as ${names[0]}): ${seen.join("; ")}. ` +
			"Name its file too.",
	);
}
