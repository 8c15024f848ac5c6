/**
 * What GPU workers are known by: the registration secret buys a worker a token in its name, and one for each model that
 * it loads. Both end by themselves.
 */
import { z } from "zod";
import { ApiError } from "../http/errors.ts";
import { type Env, settingsOf } from "../settings.ts";
import { readClaims, signClaims } from "./claims.ts";
import { isRegistrationSecret, secretAlone, wrongSecret } from "./secret.ts";
import { bearer } from "./token.ts";

const Named = z.object({ sub: z.string() });
const Worker = Named.extend({ exp: z.number() });

export const signWorkerToken = (env: Env, worker: string): Promise<string> =>
	signClaims(env, "worker", { sub: worker }, settingsOf(env).WORKER_TOKEN_SECONDS);

/** For the files of one model, by the name or digest that its address has. */
export const signModelToken = (env: Env, model: string): Promise<string> =>
	signClaims(env, "model", { sub: model }, settingsOf(env).MODEL_TOKEN_SECONDS);

/** A worker by its token, which is good until then, in milliseconds since 1970. */
export interface KnownWorker {
	worker: string;
	until: number;
}

/** Whose token it is; null for one that is not good here. */
export async function workerIn(env: Env, token: string): Promise<KnownWorker | null> {
	const claims = Worker.safeParse(await readClaims(env, "worker", token));
	return claims.success ? { worker: claims.data.sub, until: claims.data.exp * 1000 } : null;
}

/** Whose token a request brings. The registration secret opens nothing but the registration. */
export async function workerOf(env: Env, request: Request): Promise<KnownWorker> {
	const token = bearer(request);
	if (await isRegistrationSecret(env, token)) throw secretAlone();
	const known = await workerIn(env, token);
	if (!known) throw wrongSecret();
	return known;
}

/** Refuses a request without a token for this very model. */
export async function requireModelToken(env: Env, request: Request, model: string): Promise<void> {
	const claims = Named.safeParse(await readClaims(env, "model", bearer(request)));
	if (claims.success && claims.data.sub === model) return;
	throw new ApiError(
		401,
		"invalid_token",
		"The files of this model need a token for it. POST /internal/workers/token gives one for the workers' secret.",
		{ type: "authentication_error" },
	);
}
