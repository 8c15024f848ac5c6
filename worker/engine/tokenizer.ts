import { Tokenizer } from "@huggingface/tokenizers";

export interface PromptTokenizer {
	/** Token ids, end marker included. Throws PromptError when there are more than the model takes. */
	encode(prompt: string): number[];
}

/** A prompt the model cannot take; the message is for its author. */
export class PromptError extends Error {
	override name = "PromptError";
}

/** `json`: a parsed tokenizer.json, trusted by its hash in the manifest. */
export function promptTokenizer(json: unknown, maxTokens: number): PromptTokenizer {
	const tokenizer = new Tokenizer(json as ConstructorParameters<typeof Tokenizer>[0], {});
	return {
		encode(prompt) {
			const { ids } = tokenizer.encode(prompt);
			if (ids.length > maxTokens) throw new PromptError(`The prompt has ${ids.length} tokens; this model takes at most ${maxTokens}. Shorten it.`);
			return ids;
		},
	};
}
