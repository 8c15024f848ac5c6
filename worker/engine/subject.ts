/** What is to be drawn, as the model takes it. */
import type { Facts } from "../families/family.ts";
import { PromptError, type PromptTokenizer } from "../families/text/tokenizer.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import type { Draws } from "./types.ts";

export interface Subject {
	prompt?: string;
	label?: number;
}

/**
 * Token ids of a prompt, or the class alone; those given in `draws` where there are any. Throws PromptError when this
 * model does not draw such a thing, RangeError for given ids that its encoder does not know.
 */
export function subjectIds(
	facts: Facts,
	info: ModelInfo,
	tokenizer: PromptTokenizer | null,
	{ prompt, label }: Subject,
	draws: Draws,
): number[] {
	if (info.classes === undefined && label !== undefined)
		throw new PromptError("This model draws text: give a prompt in place of a class.");
	if (info.classes !== undefined) {
		if (label === undefined || !Number.isInteger(label) || label < 0 || label >= info.classes)
			throw new PromptError(`This model draws classes: give one from 0 to ${info.classes - 1} in place of a prompt.`);
		return [label];
	}
	if (!facts.text?.encoder && !draws.has("text.feats"))
		throw new PromptError(
			"This model has no text encoder: import it again with --text-encoder, or give its text features in `draws` as " +
				"text.feats.",
		);
	const ids = draws.get("text.ids");
	// Beside features they are encoded by nobody.
	if (ids && !draws.has("text.feats")) checkIds(ids, facts.text?.encoder?.vocabulary ?? 0);
	if (ids || draws.has("text.feats")) return [...(ids ?? [])];
	if (prompt === undefined) throw new PromptError("This model draws text: give a prompt.");
	if (!tokenizer)
		throw new PromptError(
			"This model has no tokenizer for the prompt: import it again with --tokenizer, or give the prompt's tokens in " +
				"`draws` as text.ids.",
		);
	return tokenizer.encode(prompt);
}

function checkIds(ids: Float32Array | Int32Array, vocabulary: number): void {
	const wrong = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabulary);
	if (wrong === undefined) return;
	throw new RangeError(`The text has a token ${wrong}; this model takes whole numbers from 0 to ${vocabulary - 1}.`);
}
