import { Tokenizer } from "@huggingface/tokenizers";
import { z } from "zod";
import { precompiled } from "./precompiled.ts";

export interface PromptTokenizer {
	/** Token ids of any text, markers included. */
	ids(text: string): number[];
	/** Those of a prompt. Throws PromptError when there are more than the model takes. */
	encode(prompt: string): number[];
	/** Words of a prompt that have no token of their own, as written, each once: the model cannot know them. */
	unknownWords(prompt: string): string[];
}

/** A prompt the model cannot take; the message is for its author. */
export class PromptError extends Error {
	override name = "PromptError";
}

/** `json`: a parsed tokenizer.json, trusted by its hash in the manifest. */
export function promptTokenizer(json: unknown, maxTokens: number): PromptTokenizer {
	const { model, pre_tokenizer } = Format.parse(json);
	// Of whole words, the library takes its unknown token from its own configuration, and has no id without one.
	const tokenizer = new Tokenizer(json as object, { unk_token: model.unk_token });
	if (tokenizer.normalizer) makeExact(tokenizer.normalizer as unknown as Normalizer);
	splitExactly(tokenizer.pre_tokenizer as PreTokenizer | null, pre_tokenizer);
	const idsOf = (text: string) => tokenizer.encode(text).ids;
	/** The id that stands for whatever the vocabulary lacks. */
	const unknown = model.unk_token == null ? model.unk_id : tokenizer.token_to_id(model.unk_token);
	return {
		ids: idsOf,
		encode: (prompt) => within(idsOf(prompt), maxTokens),
		unknownWords(prompt) {
			if (unknown == null) return [];
			// Markers left out: some tokenizers end a text with what they also take for an unknown piece.
			const lacks = (word: string) => tokenizer.encode(word, { add_special_tokens: false }).ids.includes(unknown);
			return [...new Set(wordsOf(prompt))].filter(lacks);
		},
	};
}

/** The largest id that a tokenizer knows: a text encoder's table has rows as far as that. `json`: as above. */
export function largestId(json: unknown): number {
	const { model, added_tokens } = Vocabulary.parse(json);
	const own = Array.isArray(model.vocab) ? [model.vocab.length - 1] : Object.values(model.vocab);
	return [...own, ...added_tokens.map(({ id }) => id)].reduce((most, id) => Math.max(most, id), 0);
}

/** The ids of a prompt. Throws PromptError when there are more than the model takes. */
export function within(ids: number[], maxTokens: number): number[] {
	if (ids.length <= maxTokens) return ids;
	throw new PromptError(`The prompt has ${ids.length} tokens; this model takes at most ${maxTokens}. Shorten it.`);
}

/** Every word of a closed vocabulary; undefined where texts are cut into pieces, which make any word. */
export function vocabularyOf(json: unknown): string[] | undefined {
	const parsed = WordLevel.safeParse(json);
	if (!parsed.success) return undefined;
	const { model, added_tokens } = parsed.data;
	const marks = new Set(added_tokens.map(({ content }) => content));
	return Object.keys(model.vocab).filter((word) => !marks.has(word));
}

const Vocabulary = z.object({
	model: z.object({ vocab: z.union([z.record(z.string(), z.int().min(0)), z.array(z.unknown())]) }),
	added_tokens: z.array(z.object({ id: z.int().min(0) })).default([]),
});
const WordLevel = z.object({
	model: z.object({ type: z.literal("WordLevel"), vocab: z.record(z.string(), z.number()) }),
	added_tokens: z.array(z.object({ content: z.string() })).default([]),
});
/** How texts are cut before they become tokens. */
const Split = z.object({
	type: z.string(),
	/** Of a Sequence. */
	get pretokenizers() {
		return z.array(Split).optional();
	},
});
type Split = z.infer<typeof Split>;
const Format = z.object({
	model: z.object({ unk_token: z.string().nullish(), unk_id: z.number().nullish() }),
	pre_tokenizer: Split.nullish(),
});

const segmenter = new Intl.Segmenter("en", { granularity: "word" });
/** What a person would call a word, a figure or a sign; neither spaces nor punctuation. */
const wordsOf = (text: string): string[] =>
	[...segmenter.segment(text)].map(({ segment }) => segment).filter((segment) => /[\p{L}\p{N}\p{S}]/u.test(segment));

/** The library's normalisers, as far as they are seen here. */
interface Normalizer {
	config: { type: string; precompiled_charsmap?: string };
	/** Of a Sequence. */
	normalizers?: Normalizer[];
	normalize(text: string): string;
}

/**
 * Two of the library's normalisers are near to the format's own (it takes NFKC for a charsmap, and lowers a last sigma
 * by its place): ours take their place.
 */
function makeExact(normalizer: Normalizer): void {
	const { type, precompiled_charsmap } = normalizer.config;
	normalizer.normalizers?.forEach(makeExact);
	if (type === "Lowercase") normalizer.normalize = (text) => Array.from(text, (char) => char.toLowerCase()).join("");
	if (type === "Precompiled" && precompiled_charsmap) normalizer.normalize = precompiled(precompiled_charsmap);
}

/** The library knows the letters of ASCII alone as those of a word; the format, everybody's. */
const LETTER = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_C}";
const PIECES = new RegExp(`[${LETTER}]+|[^${LETTER}\\p{White_Space}]+`, "gu");

interface PreTokenizer {
	tokenizers?: (PreTokenizer | null)[];
	pre_tokenize_text(text: string): string[];
}

function splitExactly(preTokenizer: PreTokenizer | null, format: Split | null | undefined): void {
	if (!preTokenizer || !format) return;
	format.pretokenizers?.forEach((part, i) => splitExactly(preTokenizer.tokenizers?.[i] ?? null, part));
	if (format.type === "Whitespace") preTokenizer.pre_tokenize_text = (text) => text.match(PIECES) ?? [];
}
