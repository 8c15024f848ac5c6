/** Pictures, counted to whose they are: all of a request or none, before anything of it is queued. */
import type { Caller } from "../auth/caller.ts";
import { log } from "../log.ts";
import { accountNamed } from "../objects.ts";
import type { Env } from "../settings.ts";
import { neverAtOnce, picturesUsedUp, tooManyAtOnce } from "./refusals.ts";

/**
 * Throws a 429 for more than the day has left, or than may be made at once, a 400 for more than ever may. The jobs
 * count as being made until they say that they are not, or until `until`, in milliseconds. `retrySeconds`: when one of
 * those before may be done.
 */
export async function charge(
	env: Env,
	{ owner, admitted }: Caller,
	jobs: readonly string[],
	{ until, retrySeconds }: { until: number; retrySeconds: number },
): Promise<void> {
	if (owner === null || admitted === null || jobs.length === 0) return;
	const { limits } = admitted;
	if (jobs.length > limits.concurrent) throw neverAtOnce(limits.concurrent, jobs.length);
	const charged = await accountNamed(env, owner).charge(limits, jobs, until);
	if (charged.refused === "busy") throw tooManyAtOnce(limits.concurrent, 1000 * retrySeconds);
	if (charged.refused === "quota") throw picturesUsedUp(limits, charged.wait);
	admitted.left = charged.left;
}

/** They were not queued after all. What is not given back now ends by its time. */
export async function giveBack(env: Env, { owner, admitted }: Caller, jobs: readonly string[]): Promise<void> {
	if (owner === null || admitted === null || jobs.length === 0) return;
	try {
		admitted.left = await accountNamed(env, owner).giveBack(admitted.limits, jobs);
	} catch (error) {
		log("account not reached", { message: String(error) });
	}
}
