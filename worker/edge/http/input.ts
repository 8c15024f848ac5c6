/** What the routes that make pictures take alike. */
import { z } from "zod";
import { fitsPrompt, MAX_PROMPT_CHARS, MAX_SEED } from "../../protocol/limits.ts";
import type { ModelInfo } from "../../protocol/model-info.ts";
import { notUtf8 } from "./body.ts";
import { ApiError, invalid } from "./errors.ts";

/** A whole number within limits. */
export const whole = (from: number, to: number) =>
	z
		.int(`must be a whole number from ${from} to ${to}`)
		.min(from, `must be at least ${from}`)
		.max(to, `must be at most ${to}`);

/** How many a model has is its own: `subjectOf` knows. */
export const Class = z.int("must be a whole number").min(0, "must be at least 0");

/** -1, as other image servers have it, is a random one. */
export const Seed = z
	.int(`must be a whole number from 0 to ${MAX_SEED}, or -1 for a random one`)
	.min(-1, `must be at least 0, or -1 for a random one`)
	.max(MAX_SEED, `must be at most ${MAX_SEED}`)
	.transform((seed) => (seed === -1 ? undefined : seed));

export const Prompt = z
	.string("must be a string")
	.refine(fitsPrompt, `is longer than ${MAX_PROMPT_CHARS} characters`)
	.refine((prompt) => prompt.trim() !== "", "is empty; say what the picture should show")
	// Half a surrogate pair is no text: it becomes U+FFFD here, once, and not differently in every tokenizer.
	.transform((prompt) => prompt.toWellFormed());

/** Of a model, policy or schedule. */
export const Name = z.string().min(1, "is empty").max(64, "is longer than 64 characters");

export const JobId = z.string().regex(/^[0-9a-f]{64}$/, "must be the id of a job");

export const Quality = z
	.enum(["high", "medium", "low"], "must be high, medium or low")
	.describe("In place of a policy: how much of the score may be given for speed.");
export const MaxMs = whole(1, 86_400_000).describe(
	"Milliseconds within which the picture is wanted: a policy that was not named is thinned for it, as far as low goes.",
);

/** The ways to say how a picture is made exclude each other. */
export function requireOneWay({ plan, policy, quality }: { plan?: unknown; policy?: string; quality?: string }): void {
	if (plan !== undefined && policy !== undefined)
		throw invalid("plan", "plan: stands in place of a policy; give one of them.");
	if (quality !== undefined && (plan !== undefined || (policy !== undefined && policy !== "auto")))
		throw invalid("quality", "quality: stands in place of a policy or plan; give one of them.");
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

/**
 * The query's parameters, but for a ticket, which was looked at before. Refuses one that is given twice, and bytes that
 * are not UTF-8: read leniently they become U+FFFD, and a picture of that is nobody's wish.
 */
export function queryOf(url: string): Record<string, string> {
	const query = new Map<string, string>();
	for (const pair of url.split("#", 1)[0].split("?").slice(1).join("?").split("&")) {
		if (pair === "") continue;
		const at = pair.indexOf("=");
		const name = decoded(at === -1 ? pair : pair.slice(0, at), "the query");
		const shown = name.slice(0, 64);
		if (name === "ticket") continue;
		if (query.has(name)) throw invalid(shown, `${shown} is given more than once; give it once.`);
		query.set(name, at === -1 ? "" : decoded(pair.slice(at + 1), shown));
	}
	return Object.fromEntries(query);
}

function decoded(text: string, param: string): string {
	try {
		const plain = text.replaceAll("+", " ").replace(/(?:%[0-9a-f]{2})+/gi, decodeURIComponent);
		// What stood for bytes that were no text is itself no text.
		if (!plain.includes("\ufffd")) return plain;
	} catch {
		// Bytes that are no UTF-8.
	}
	throw notUtf8(param);
}
