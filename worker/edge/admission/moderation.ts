/** The hook for a moderation service: asked about a prompt before it is queued, in the form that OpenAI's has. */
import { z } from "zod";
import { ApiError, unavailable } from "../http/errors.ts";
import { log } from "../log.ts";
import { type Env, settingsOf } from "../settings.ts";

const Verdict = z.object({ results: z.array(z.object({ flagged: z.boolean() })).min(1) });
/** Of an answer. */
const MAX_CHARS = 64 * 1024;

/** Refuses a prompt that the service flags; and, unless it fails open, one that it does not judge in time. */
export async function requireAllowed(env: Env, prompt: string | undefined): Promise<void> {
	const { MODERATION_URL, MODERATION_FAILS } = settingsOf(env);
	if (MODERATION_URL === undefined || prompt === undefined) return;
	let flagged: boolean;
	try {
		flagged = await isFlagged(env, MODERATION_URL, prompt);
	} catch (error) {
		log("moderation failed", { message: (error as Error).message.slice(0, 200), passed: MODERATION_FAILS });
		if (MODERATION_FAILS === "open") return;
		throw unavailable("moderation_unavailable", "Prompts cannot be checked at the moment. Try again soon.", 5);
	}
	if (flagged)
		throw new ApiError(400, "moderation_blocked", "The prompt was refused by this edge's moderation. Change it.", {
			type: "image_generation_user_error",
			param: "prompt",
		});
}

async function isFlagged(env: Env, url: string, prompt: string): Promise<boolean> {
	const { MODERATION_SECONDS, MODERATION_KEY } = settingsOf(env);
	const response = await fetch(url, {
		method: "POST",
		headers: {
			"content-type": "application/json",
			...(MODERATION_KEY && { authorization: `Bearer ${MODERATION_KEY}` }),
		},
		body: JSON.stringify({ input: prompt }),
		// Elsewhere nobody has agreed to be asked.
		redirect: "manual",
		signal: AbortSignal.timeout(MODERATION_SECONDS * 1000),
	});
	const text = await response.text();
	if (!response.ok) throw new Error(`it answered ${response.status}`);
	if (text.length > MAX_CHARS) throw new Error("its answer is too long");
	const verdict = Verdict.safeParse(JSON.parse(text));
	if (!verdict.success) throw new Error("its answer has another form");
	return verdict.data.results.some(({ flagged }) => flagged);
}
