/** What both image routes take. */
import { z } from "zod";
import { MAX_PROMPT_CHARS } from "../protocol/limits.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import { ApiError, invalid } from "./errors.ts";

export const Prompt = z
	.string("must be a string")
	.max(MAX_PROMPT_CHARS, `is longer than ${MAX_PROMPT_CHARS} characters`)
	.refine((prompt) => prompt.trim() !== "", "is empty; say what the picture should show")
	// Half a surrogate pair is no text: it becomes U+FFFD here, once, and not differently in every tokenizer.
	.transform((prompt) => prompt.toWellFormed());

/** Of a model, policy or schedule. */
export const Name = z.string().min(1, "is empty").max(64, "is longer than 64 characters");

/** The two ways to say how a picture is made exclude each other. */
export function requireOneWay({ plan, policy }: { plan?: unknown; policy?: string }): void {
	if (plan !== undefined && policy !== undefined)
		throw invalid("plan", "plan: stands in place of a policy; give one of them.");
}

/** What the picture should show: text, or one of the model's classes. */
export interface Subject {
	prompt?: string;
	label?: number;
}

/** Refuses a request that names neither, before anything is looked up. */
export function requireSubject({ prompt, class: label }: { prompt?: string; class?: number }): void {
	if (prompt === undefined && label === undefined)
		throw new ApiError(400, "missing_required_parameter", "prompt: is missing; say what the picture should show", {
			param: "prompt",
		});
	if (prompt !== undefined && label !== undefined)
		throw invalid("class", "class: stands in place of a prompt; give one of them.");
}

/** What the model draws, out of what was asked for. */
export function subjectOf(
	{ id, classes }: ModelInfo,
	{ prompt, class: label }: { prompt?: string; class?: number },
): Subject {
	if (classes === undefined) {
		if (label !== undefined) throw invalid("class", `Model ${id} draws text: give a prompt in place of class.`);
		return { prompt };
	}
	if (label === undefined)
		throw invalid(
			"prompt",
			`Model ${id} draws classes, not text: give class, 0 to ${classes - 1}, in place of prompt.`,
		);
	if (label >= classes) throw invalid("class", `Model ${id} has the classes 0 to ${classes - 1}.`);
	return { label };
}
