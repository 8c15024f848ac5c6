/** What the edge knows of a prompt before any worker sees it, by the model's own tokenizer. */
import { PromptError, type PromptTokenizer, promptTokenizer } from "../families/text/tokenizer.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import { invalid } from "./errors.ts";
import { tokenizerOf } from "./published.ts";
import type { Env } from "./settings.ts";

/** Tokenizers of large vocabularies take tens of megabytes, and an isolate has 128. */
const MAX_KEPT = 4;
/** By the model's digest; null where the edge has none. What a digest names never changes. */
const kept = new Map<string, PromptTokenizer | null>();

export interface KnownPrompt {
	/** Markers included. */
	tokens: number;
	unknownWords: string[];
}

/**
 * Tokens and unknown words of a prompt; undefined where the edge cannot know: the tokenizer is neither in the model's
 * info nor published, or too large to hold here. Throws a 400 for a prompt that is too long for the model.
 */
export async function knownPrompt(env: Env, model: ModelInfo, prompt: string): Promise<KnownPrompt | undefined> {
	const tokenizer = await tokenizerFor(env, model);
	if (tokenizer === null) return undefined;
	try {
		return { tokens: tokenizer.encode(prompt).length, unknownWords: tokenizer.unknownWords(prompt) };
	} catch (error) {
		if (error instanceof PromptError) throw invalid("prompt", `prompt: ${error.message}`, "invalid_prompt");
		throw error;
	}
}

async function tokenizerFor(env: Env, { id, digest, tokenizer, maxPromptTokens }: ModelInfo) {
	const held = kept.get(digest);
	if (held !== undefined) return held;
	let made: PromptTokenizer | null = null;
	try {
		const json = tokenizer ?? (env.MODEL_BUCKET && (await tokenizerOf(env.MODEL_BUCKET, digest)));
		// It may be published later.
		if (json === undefined) return null;
		made = promptTokenizer(json, maxPromptTokens);
	} catch (error) {
		// The worker that offers the model reads the same file: it will say what is wrong with it, and what with a prompt.
		console.error(JSON.stringify({ event: "tokenizer not read", model: id, digest, message: String(error) }));
	}
	if (kept.size === MAX_KEPT) kept.delete(kept.keys().next().value as string);
	kept.set(digest, made);
	return made;
}
