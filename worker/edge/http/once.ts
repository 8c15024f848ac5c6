/** Idempotency-Key: a request that is sent again, since its answer was lost, is not done again. */
import type { Context } from "hono";
import { signingSecret } from "../auth/secret.ts";
import { signText } from "../auth/token.ts";
import { type App, settingsOf } from "../settings.ts";
import { ApiError, invalid } from "./errors.ts";
import { outlasting } from "./outlast.ts";

/** An answer that can be kept. */
export interface Made {
	status: 200 | 201;
	json: unknown;
	headers: Record<string, string>;
}

/**
 * What `make` gives; under a key that was used for the same request before, what it gave then. Throws a 409 while that
 * one is being made, a 422 where the key stands for another request. A request that fails leaves the key free.
 */
export async function once(c: Context<App>, body: unknown, make: () => Promise<Made>): Promise<Response> {
	const key = c.req.header("idempotency-key");
	if (key === undefined) return answer(await outlasting(make()));
	if (!/^[\x21-\x7e]{1,255}$/.test(key))
		throw invalid("Idempotency-Key", "Idempotency-Key: must be 1 to 255 visible ASCII characters, as a UUID is.");
	return outlasting(claimed(c, key, body, make));
}

async function claimed(c: Context<App>, key: string, body: unknown, make: () => Promise<Made>): Promise<Response> {
	const secret = signingSecret(c.env);
	const named = JSON.stringify([c.var.caller.owner, key]);
	const name = await signText(secret, `firstlight idempotency 1\n${named}`);
	const asked = JSON.stringify([c.req.method, c.req.path, body]);
	const claim = c.env.CLAIM.get(c.env.CLAIM.idFromName(name));
	const taken = await claim.take(await signText(secret, `firstlight request 1\n${asked}`));
	if (taken.is === "kept") return answer(JSON.parse(taken.value) as Made, { "idempotent-replayed": "true" });
	if (taken.is === "busy")
		throw new ApiError(
			409,
			"idempotency_key_in_use",
			"The request with this Idempotency-Key is still being answered. Send it again in a second.",
			{ headers: { "retry-after": "1", "x-should-retry": "true" } },
		);
	if (taken.is === "other")
		throw new ApiError(
			422,
			"idempotency_key_reused",
			"This Idempotency-Key was used for another request. Use a new key for a new request.",
			{ param: "Idempotency-Key", headers: { "x-should-retry": "false" } },
		);
	try {
		const made = await make();
		await claim.keep(JSON.stringify(made), Date.now() + settingsOf(c.env).IDEMPOTENCY_SECONDS * 1000);
		return answer(made);
	} catch (error) {
		await claim.drop();
		throw error;
	}
}

function answer({ status, json, headers }: Made, more: Record<string, string> = {}): Response {
	return Response.json(json, { status, headers: { "cache-control": "no-store", ...headers, ...more } });
}
