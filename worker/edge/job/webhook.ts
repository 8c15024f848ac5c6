/**
 * A message to whoever asked to be told of a job's end, in the form of Standard Webhooks (standardwebhooks.com): signed
 * by HMAC-SHA-256 over id, time and body, so that nobody else's passes for it, nor an old one for a new one.
 */
import { webhookKey } from "../../protocol/secret.ts";
import type { WebhookTarget } from "../objects.ts";

/** How it stands with one. */
export interface Hook extends WebhookTarget {
	/** The same at every try: who gets it twice can tell. */
	id: string;
	tries: number;
	/** When it is tried next; null before the end, and once it was taken or given up. */
	next: number | null;
	state: "waiting" | "delivered" | "failed";
}

export const newHook = (target: WebhookTarget): Hook => ({
	...target,
	id: `msg_${crypto.randomUUID().replaceAll("-", "")}`,
	tries: 0,
	next: null,
	state: "waiting",
});

const MOST_TRIES = 8;
const ANSWER_MS = 10_000;

/**
 * The hook as a try that begins now leaves it where nothing comes of it: pauses are four times as long each time, the
 * first one `first` milliseconds.
 */
export function tried(hook: Hook, now: number, first: number): Hook {
	const tries = hook.tries + 1;
	const pause = ANSWER_MS + first * 4 ** (tries - 1);
	return { ...hook, tries, next: now + pause };
}

/** The same once it is known what came of it. `first`: as above. */
export function answered(hook: Hook, answer: Answer, now: number, first: number): Hook {
	if (answer === "taken") return { ...hook, state: "delivered", next: null };
	if (answer === "gone" || hook.tries >= MOST_TRIES) return { ...hook, state: "failed", next: null };
	return { ...hook, next: now + first * 4 ** (hook.tries - 1) };
}

/** `gone`: the receiver wants nothing more (410). */
export type Answer = "taken" | "gone" | "not taken";

/** Sends it once. Never throws: what goes wrong is a try that was not taken. No redirect is followed. */
export async function send({ url, id }: Hook, secret: string, body: string): Promise<Answer> {
	const timestamp = Math.floor(Date.now() / 1000);
	try {
		const response = await fetch(url, {
			method: "POST",
			redirect: "manual",
			signal: AbortSignal.timeout(ANSWER_MS),
			headers: {
				"content-type": "application/json",
				"user-agent": "Firstlight-Webhook/1",
				"webhook-id": id,
				"webhook-timestamp": `${timestamp}`,
				"webhook-signature": `v1,${await signature(secret, `${id}.${timestamp}.${body}`)}`,
			},
			body,
		});
		await response.body?.cancel();
		return response.ok ? "taken" : response.status === 410 ? "gone" : "not taken";
	} catch {
		return "not taken";
	}
}

/** Base64 of the text's HMAC-SHA-256 under the bytes of a `whsec_` secret. */
async function signature(secret: string, text: string): Promise<string> {
	const key = await crypto.subtle.importKey("raw", webhookKey(secret), { name: "HMAC", hash: "SHA-256" }, false, [
		"sign",
	]);
	const mac = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(text));
	return btoa(String.fromCharCode(...new Uint8Array(mac)));
}

/**
 * What is wrong with an address, or null: HTTPS only, of a name and not of a number, so that nobody has this machine
 * knock at its neighbours. `here`: on a machine of one's own, HTTP to itself as well.
 */
export function addressProblem(text: string, here: boolean): string | null {
	const url = URL.canParse(text) ? new URL(text) : null;
	if (!url) return "is no address";
	if (url.username !== "" || url.password !== "") return "must hold no user and password";
	if (here && url.protocol === "http:" && url.hostname === "127.0.0.1") return null;
	if (url.protocol !== "https:") return "must be https";
	const name = url.hostname.toLowerCase().replace(/\.$/, "");
	// An address in numbers comes out of URL with dots alone, or in brackets, however it was written.
	const public_ = /^(?!.*\.(?:localhost|local|internal|lan|home\.arpa)$)[^.[]+(?:\.[^.]+)*\.[a-z][a-z0-9-]*$/.test(
		name,
	);
	return public_ ? null : "must be the name of a host that everybody can reach";
}
