/** Idempotency-Key: a request that is sent again, since its answer was lost, is not done again. */
import type { Context } from "hono";
import { signingSecret } from "../auth/secret.ts";
import { signText } from "../auth/token.ts";
import { logError } from "../log.ts";
import { type App, settingsOf } from "../settings.ts";
import { ApiError, invalid } from "./errors.ts";
import { outlasting } from "./outlast.ts";

/** An answer that can be kept. */
export interface Made {
	status: 200 | 201;
	json: unknown;
	headers: Record<string, string>;
}

/** `act` does what is asked for, and `tell` answers with what came of it, as JSON can have it. */
export interface Deed<Done> {
	act(): Promise<Done>;
	tell(done: Done): Promise<Made>;
}

/**
 * What a deed is answered with; under a key that was used for the same request before, what was answered then. Throws a
 * 409 while that one is being made, a 422 where the key stands for another request. A request that fails leaves the key
 * free, unless it was done by then: one that could not be told of is told of when it comes again.
 */
export async function once<Done>(c: Context<App>, body: unknown, deed: Deed<Done>): Promise<Response> {
	const key = c.req.header("idempotency-key");
	if (key === undefined) return answer(await outlasting(deed.act().then(deed.tell)));
	if (!/^[\x21-\x7e]{1,255}$/.test(key))
		throw invalid("Idempotency-Key", "Idempotency-Key: must be 1 to 255 visible ASCII characters, as a UUID is.");
	return outlasting(claimed(c, key, body, deed));
}

async function claimed<Done>(c: Context<App>, key: string, body: unknown, deed: Deed<Done>): Promise<Response> {
	const secret = signingSecret(c.env);
	const named = JSON.stringify([c.var.caller.owner, key]);
	const name = await signText(secret, `firstlight idempotency 1\n${named}`);
	const asked = JSON.stringify([c.req.method, c.req.path, body]);
	const claim = c.env.CLAIM.get(c.env.CLAIM.idFromName(name));
	const taken = await claim.take(await signText(secret, `firstlight request 1\n${asked}`));
	const hold = taken.is === "new" ? taken.hold : undefined;
	/** What cannot be kept is done nonetheless: then the key is in use until its time is over. */
	const keep = async (value: Made | { done: Done }): Promise<void> => {
		try {
			await claim.keep(JSON.stringify(value), Date.now() + settingsOf(c.env).IDEMPOTENCY_SECONDS * 1000, hold);
		} catch (error) {
			logError("answer not kept", { request: c.var.requestId, message: String(error) });
		}
	};
	const told = async (done: Done): Promise<Made> => {
		try {
			const made = await deed.tell(done);
			await keep(made);
			return made;
		} catch (error) {
			await keep({ done });
			throw error;
		}
	};
	if (taken.is === "kept") {
		const kept = JSON.parse(taken.value) as Made | { done: Done };
		return answer("done" in kept ? await told(kept.done) : kept, { "idempotent-replayed": "true" });
	}
	if (taken.is === "busy")
		throw new ApiError(
			409,
			"idempotency_key_in_use",
			"The request with this Idempotency-Key is still being answered. Send it again in a second.",
			{ headers: { "retry-after": "1", "x-should-retry": "true" } },
		);
	if (taken.is !== "new")
		throw new ApiError(
			422,
			"idempotency_key_reused",
			"This Idempotency-Key was used for another request. Use a new key for a new request.",
			{ param: "Idempotency-Key", headers: { "x-should-retry": "false" } },
		);
	let done: Done;
	try {
		done = await deed.act();
	} catch (error) {
		await claim.drop(taken.hold);
		throw error;
	}
	return answer(await told(done));
}

function answer({ status, json, headers }: Made, more: Record<string, string> = {}): Response {
	return Response.json(json, { status, headers: { "cache-control": "no-store", ...headers, ...more } });
}
