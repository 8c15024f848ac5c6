/** What a job shows of itself: out of its record and its log; and with its place in the queue, its resource. */
import type { ErrorEvent } from "../../protocol/job.ts";
import type { JobResource } from "../../protocol/jobs.ts";
import { baseOf, pictureUrl } from "../auth/picture-url.ts";
import type { JobFacts, Outcome, Standing } from "../objects.ts";
import type { Env } from "../settings.ts";
import type { JobRecord } from "./record.ts";

/** `made`: its scales so far; `last`: the newest event, where the job has ended; `expires`: when it is deleted then. */
export function factsOf(
	id: string,
	job: JobRecord,
	{ made, last, expires }: { made: number; last: { type: string; json: string } | null; expires: number },
): JobFacts {
	const { request, event, hook, ended } = job;
	const { plan, until, seed } = request;
	const outcome = last === null ? null : outcomeOf(last);
	return {
		object: "job",
		id,
		outcome,
		mode: job.mode ?? "interactive",
		created_at: seconds(job.created ?? job.deadline),
		ended_at: ended === null ? null : seconds(ended),
		expires_at: ended === null ? null : seconds(expires),
		model: event.model,
		policy: event.policy,
		seed,
		width: event.width,
		height: event.height,
		plan,
		...(until !== undefined && { until }),
		scales: {
			made,
			of: plan.steps.filter(({ kind }, scale) => kind === "run" && scale <= (until ?? Infinity)).length,
		},
		cached: event.cached ?? false,
		error: last && outcome !== "done" ? errorOf(last) : null,
		webhook: hook ? { state: hook.state, tries: hook.tries } : null,
		pool: job.pool,
	};
}

/** How a job ended, by its last event. */
export function outcomeOf({ type, json }: { type: string; json: string }): Outcome {
	if (type === "final") return "done";
	return errorOf({ json }).code === "cancelled" ? "cancelled" : "failed";
}

function errorOf({ json }: { json: string }): Pick<ErrorEvent, "code" | "message"> {
	const { code, message } = JSON.parse(json) as ErrorEvent;
	return { code, message };
}

/** `base`: where clients reach this edge. */
export async function resourceOf(
	env: Env,
	base: string,
	{ outcome, pool: _, ...facts }: JobFacts,
	standing: Standing | null,
): Promise<JobResource> {
	const self = `${baseOf(env, base)}/v1/jobs/${facts.id}`;
	const waits = outcome === null && (standing === null || standing.ahead !== null);
	return {
		...facts,
		state: outcome ?? (waits ? "queued" : "running"),
		place: waits ? (standing?.ahead ?? null) : null,
		estimate_seconds: standing?.milliseconds == null ? null : Math.round(standing.milliseconds / 100) / 10,
		links: {
			self,
			events: `${self}/events`,
			image: outcome === "done" ? await pictureUrl(env, base, facts.id, facts.expires_at!) : null,
		},
	};
}

const seconds = (milliseconds: number): number => Math.floor(milliseconds / 1000);
