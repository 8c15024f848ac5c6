/** What GPU workers share with the edge. */
import { ApiError } from "../http/errors.ts";
import { type Env, settingsOf } from "../settings.ts";
import { bearer, sameSecret } from "./token.ts";

export function secretOf(env: Env): string {
	const { WORKER_SECRET } = settingsOf(env);
	if (WORKER_SECRET === undefined) {
		throw new ApiError(
			503,
			"no_worker_secret",
			"This edge takes no GPU workers: its WORKER_SECRET is not set, or shorter than 16 characters.",
			{ headers: { "x-should-retry": "false" } },
		);
	}
	return WORKER_SECRET;
}

/** Refuses a request that does not carry the secret. */
export async function requireSecret(env: Env, request: Request): Promise<void> {
	if (await sameSecret(secretOf(env), bearer(request))) return;
	throw new ApiError(
		401,
		"invalid_secret",
		"The worker's secret is missing or wrong. Start the worker with the WORKER_SECRET of this edge.",
		{ type: "authentication_error" },
	);
}
