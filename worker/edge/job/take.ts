/** What becomes of a job by an event of the attempt that holds it. */
import type { FinalEvent, JobEvent, RevisionEvent, ScaleEvent, WorkerEvent } from "../../protocol/job.ts";
import type { DeliveryAnswer } from "../../protocol/messages.ts";
import { finalProblem, revisionProblem, scaleProblem } from "./checks.ts";
import { type JobRecord, MIXED, nextScale, pictureOf } from "./record.ts";

export type Answer = DeliveryAnswer | { refused: string };

export interface Taken {
	answer: Answer;
	/** The record as it is from then on, where it changes. */
	record?: JobRecord;
	/** What goes to the log; `final` and `error` end the job. */
	event?: JobEvent;
}

/** `logged`: the last scale in the log. A scale that is logged already is not logged twice. */
export function take(job: JobRecord, event: WorkerEvent, logged: number, now: number): Taken {
	switch (event.type) {
		case "error":
			return { answer: { go: "stop" }, event };
		case "revision":
			return revision(job, event, logged, now);
		case "scale":
			return scale(job, event, logged, now);
		case "final":
			return final(job, event, logged);
	}
}

const ON: Answer = { go: "on" };
const refused = (problem: string): Taken => ({ answer: { refused: problem } });

function scale(job: JobRecord, event: ScaleEvent, logged: number, now: number): Taken {
	const problem = scaleProblem(pictureOf(job), event);
	if (problem) return refused(problem);
	const { plan } = job.request;
	const missing = nextScale(job, logged);
	if (missing !== -1 && event.index > missing) return refused(`scale ${event.index} before scale ${missing}`);
	if (plan.decide && event.index > plan.decide.after) return refused(`scale ${event.index} before the plan is settled`);
	if (event.index !== missing) return { answer: ON };
	const { at, scales } = job.sign ?? { at: now, scales: 0 };
	const record: JobRecord = {
		...job,
		// The first scale of an attempt brings the text, and what was replayed before it.
		pace: scales > 0 ? { scale: event.index, milliseconds: now - at } : job.pace,
		sign: { at: now, scales: scales + 1 },
		madeUnder: job.madeUnder === null || job.madeUnder === job.numerics ? job.numerics : MIXED,
	};
	return { answer: ON, record, event };
}

/** Settles the rest of the plan, once: a later attempt reads it. */
function revision(job: JobRecord, event: RevisionEvent, logged: number, now: number): Taken {
	const problem = revisionProblem(job.request.plan, event, logged);
	if (problem) return refused(problem);
	if (!job.request.plan.decide) return { answer: ON };
	return { answer: ON, record: settled(job, event, now), event };
}

/** The job by its settled plan. */
export function settled({ request, sign, ...job }: JobRecord, { plan }: RevisionEvent, now: number): JobRecord {
	return {
		...job,
		asked: request.plan,
		request: { ...request, plan },
		sign: { at: now, scales: sign?.scales ?? 0 },
	};
}

function final(job: JobRecord, event: FinalEvent, logged: number): Taken {
	const missing = nextScale(job, logged);
	const problem = missing === -1 ? finalProblem(pictureOf(job), event) : `final before scale ${missing}`;
	if (problem) return refused(problem);
	const numerics = job.madeUnder === job.numerics ? event.numerics : MIXED;
	return { answer: { go: "stop" }, event: { ...event, numerics } };
}
