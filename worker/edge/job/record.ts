/** What a job keeps beside its log, and what follows from it. */
import { allowance, type Pace } from "../../protocol/allowance.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import type { NewJob } from "../objects.ts";
import type { Settings } from "../settings.ts";
import type { Picture } from "./checks.ts";
import type { Hook } from "./webhook.ts";

/** Raised when a record of before cannot be read any more: such jobs are forgotten. */
export const RECORD_VERSION = 1;

export interface JobRecord extends Omit<NewJob, "trunk" | "webhook"> {
	version: typeof RECORD_VERSION;
	attempt: number;
	/** Of the worker that makes this attempt. */
	numerics: string;
	/** Numerics id under which the scales so far were made, or `mixed`; null while there are none. */
	madeUnder: string | null;
	/** Of the newest scale, measured here. */
	pace: Pace | null;
	/** When this attempt last gave a sign; `scales`: how many it has delivered. Null where there is no attempt. */
	sign: { at: number; scales: number } | null;
	/** Absent in records of before. */
	created?: number;
	deadline: number;
	ended: number | null;
	/** The plan as it was asked for, where it was settled since. */
	asked?: StagePlan;
	/** Who is told of its end. */
	hook?: Hook;
}

/** Numerics of what was not all made under one id. */
export const MIXED = "mixed";

export function pictureOf({ request, bitsPerToken, event: { grids, width, height } }: JobRecord): Picture {
	return { request, grids, bitsPerToken, width, height };
}

/** The first scale of the plan that runs and is not logged; -1 when all are. `logged` is the last one in the log. */
export function nextScale({ request: { plan, until = Infinity } }: JobRecord, logged: number): number {
	return plan.steps.findIndex((step, scale) => step.kind === "run" && scale > logged && scale <= until);
}

/** The scale that may be delivered next; -1 where the plan has to be settled before, or all are logged. */
export function awaitedScale(job: JobRecord, logged: number): number {
	const missing = nextScale(job, logged);
	const { decide } = job.request.plan;
	return decide && missing > decide.after ? -1 : missing;
}

/** When an attempt without a sign counts as stuck, if nothing of it was there for at least `floor` milliseconds. */
export function stallOf(job: JobRecord, logged: number, floor: number): number {
	if (job.sign === null) return Number.POSITIVE_INFINITY;
	const { plan } = job.request;
	const missing = nextScale(job, logged);
	const to = missing === -1 ? plan.steps.length - 1 : missing;
	// The first scale of an attempt comes after all that is replayed.
	const from = job.sign.scales === 0 ? 0 : to;
	return job.sign.at + allowance(plan, job.event.grids, job.pace, [from, to], floor);
}

/** How long a job may take. */
export function deadlineSeconds({ ttlSeconds = 0 }: Pick<NewJob, "ttlSeconds">, settings: Settings): number {
	return Math.max(settings.JOB_DEADLINE_SECONDS, ttlSeconds);
}

/** When a job that ended then is deleted. */
export function deletionOf({ ttlSeconds }: Pick<NewJob, "ttlSeconds">, ended: number, settings: Settings): number {
	return ended + (ttlSeconds ?? settings.JOB_KEEP_SECONDS) * 1000;
}
