/** What the edge knows of a prompt before any worker sees it, by the model's own tokenizer. */

import { PromptError, type PromptTokenizer, promptTokenizer, within } from "../../families/text/tokenizer.ts";
import type { ModelInfo } from "../../protocol/model-info.ts";
import { logError } from "../log.ts";
import { tokenizerFileOf, tokenizerIn } from "../published.ts";
import type { Env } from "../settings.ts";
import { invalid } from "./errors.ts";

/**
 * The published tokenizer used last, by its hash; null where it could not be read. One of 32000 pieces takes a second
 * and 50 of an isolate's 128 megabytes; models of a kind share theirs.
 */
let kept: { sha256: string; tokenizer: PromptTokenizer | null } | undefined;

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
	const tokenizer = model.tokenizer ? made(model, model.tokenizer) : await published(env, model);
	if (tokenizer === null) return undefined;
	try {
		const { length } = within(tokenizer.ids(prompt), model.maxPromptTokens);
		return { tokens: length, unknownWords: tokenizer.unknownWords(prompt) };
	} catch (error) {
		if (error instanceof PromptError) throw invalid("prompt", `prompt: ${error.message}`, "invalid_prompt");
		throw error;
	}
}

async function published({ MODEL_BUCKET: bucket }: Env, model: ModelInfo): Promise<PromptTokenizer | null> {
	const file = bucket && (await tokenizerFileOf(bucket, model.digest));
	if (!file) return null;
	if (kept?.sha256 !== file.sha256)
		kept = { sha256: file.sha256, tokenizer: made(model, await tokenizerIn(bucket, file)) };
	return kept.tokenizer;
}

/** The worker that offers the model reads the same file: it will say what is wrong with it, and what with a prompt. */
function made({ id, digest }: ModelInfo, json: unknown): PromptTokenizer | null {
	try {
		return promptTokenizer(json, Infinity);
	} catch (error) {
		logError("tokenizer not read", { model: id, digest, message: String(error) });
		return null;
	}
}
