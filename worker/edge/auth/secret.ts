/** What GPU workers share with the edge: two secrets at a time, so that they can be changed while workers run. */
import { ApiError } from "../http/errors.ts";
import { type Env, settingsOf } from "../settings.ts";
import { bearer, sameSecret } from "./token.ts";

/** Throws a 503 where workers cannot be known. */
function secretOf(env: Env): string {
	const { WORKER_SECRET } = settingsOf(env);
	if (WORKER_SECRET === undefined) {
		throw new ApiError(
			503,
			"no_worker_secret",
			"This edge takes no GPU workers: its WORKER_SECRET is not set, or not 16 to 512 letters, digits and signs of " +
				"ASCII without spaces.",
			{ headers: { "x-should-retry": "false" } },
		);
	}
	return WORKER_SECRET;
}

/** What the edge signs with: not what workers know, where there is something else. */
export const signingSecret = (env: Env): string => settingsOf(env).ADMIN_SECRET ?? secretOf(env);

/** Whether it is the secret that workers register with, or the one that comes after it. */
export async function isRegistrationSecret(env: Env, secret: string): Promise<boolean> {
	const { WORKER_SECRET_NEXT } = settingsOf(env);
	const good = [secretOf(env), ...(WORKER_SECRET_NEXT === undefined ? [] : [WORKER_SECRET_NEXT])];
	const same = await Promise.all(good.map((each) => sameSecret(each, secret)));
	return same.includes(true);
}

/** Refuses a request that does not carry it. */
export async function requireSecret(env: Env, request: Request): Promise<void> {
	if (!(await isRegistrationSecret(env, bearer(request)))) throw wrongSecret();
}

/** What a worker is told that is older than tokens. */
export const secretAlone = (): ApiError =>
	new ApiError(
		401,
		"registration_needed",
		"The registration secret is for registering alone: POST /internal/workers/token gives a token to come in with. " +
			"A worker that does not ask for one is older than this edge: upgrade it.",
		{ type: "authentication_error" },
	);

export const wrongSecret = (): ApiError =>
	new ApiError(
		401,
		"invalid_secret",
		"The worker's secret or token is missing or wrong. Start the worker with the WORKER_SECRET of this edge.",
		{ type: "authentication_error" },
	);
