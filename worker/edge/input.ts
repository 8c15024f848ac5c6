/** What both image routes take. */
import { z } from "zod";
import { MAX_PROMPT_CHARS } from "../protocol/limits.ts";

export const Prompt = z
	.string({ error: (issue) => (issue.input === undefined ? "is missing; say what the picture should show" : "must be a string") })
	.max(MAX_PROMPT_CHARS, `is longer than ${MAX_PROMPT_CHARS} characters`)
	.refine((prompt) => prompt.trim() !== "", "is empty; say what the picture should show")
	// Half a surrogate pair is no text: it becomes U+FFFD here, once, and not differently in every tokenizer.
	.transform((prompt) => prompt.toWellFormed());

/** Of a model, policy or schedule. */
export const Name = z.string().min(1, "is empty").max(64, "is longer than 64 characters");
