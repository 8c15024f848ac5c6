/**
 * A finished picture is found again by what was asked for, as long as its job is kept: the same model, words, seed,
 * plan, numerics and format give the same bytes, so they need not be made twice. With another key nothing is found.
 */
import type { JobRequest } from "../../protocol/job.ts";
import { StagePlan } from "../../protocol/plan.ts";
import { signingSecret } from "../auth/secret.ts";
import { signText } from "../auth/token.ts";
import type { Owner } from "../objects.ts";
import type { Env } from "../settings.ts";

/** Where a finished picture's job is noted, and looked for. `request` has its plan as it was asked for. */
export async function picturesClaim(env: Env, owner: Owner, request: JobRequest, numerics: string) {
	const { plan, prompt, label, seed, previews, format, until } = request;
	const asked = JSON.stringify([StagePlan.parse(plan), prompt, label, seed, previews, format, until]);
	const name = await signText(signingSecret(env), `firstlight found 1\n${JSON.stringify([owner, numerics])}\n${asked}`);
	return env.CLAIM.get(env.CLAIM.idFromName(name));
}

/** The job of such a picture, by any of these numerics; null where there is none. */
export async function findPicture(
	env: Env,
	owner: Owner,
	request: JobRequest,
	numerics: readonly string[],
): Promise<string | null> {
	const claims = await Promise.all(numerics.map((id) => picturesClaim(env, owner, request, id)));
	const found = await Promise.all(claims.map((claim) => claim.value()));
	return found.find((job) => job !== null) ?? null;
}
