import { Tokenizer } from "@huggingface/tokenizers";
import { precompiled } from "./precompiled.ts";

export interface PromptTokenizer {
	/** Token ids of any text, markers included. */
	ids(text: string): number[];
	/** Those of a prompt. Throws PromptError when there are more than the model takes. */
	encode(prompt: string): number[];
}

/** A prompt the model cannot take; the message is for its author. */
export class PromptError extends Error {
	override name = "PromptError";
}

/** `json`: a parsed tokenizer.json, trusted by its hash in the manifest. */
export function promptTokenizer(json: unknown, maxTokens: number): PromptTokenizer {
	const tokenizer = new Tokenizer(json as ConstructorParameters<typeof Tokenizer>[0], {});
	if (tokenizer.normalizer) makeExact(tokenizer.normalizer as unknown as Normalizer);
	const idsOf = (text: string) => tokenizer.encode(text).ids;
	return {
		ids: idsOf,
		encode(prompt) {
			const ids = idsOf(prompt);
			if (ids.length > maxTokens)
				throw new PromptError(
					`The prompt has ${ids.length} tokens; this model takes at most ${maxTokens}. Shorten it.`,
				);
			return ids;
		},
	};
}

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
