/** A job as its resource shows it, `GET /v1/jobs/JOB`. What a later edge adds is passed over. */
import { z } from "zod";
import { ErrorEvent, Seed } from "./job.ts";
import { StagePlan } from "./plan.ts";

export const JobMode = z.enum(["interactive", "background"]);
export type JobMode = z.infer<typeof JobMode>;

export const JobState = z.enum(["queued", "running", "done", "failed", "cancelled"]);
export type JobState = z.infer<typeof JobState>;

const Time = z.int().describe("Seconds since 1970.");

export const JobResource = z.object({
	object: z.literal("job"),
	id: z
		.string()
		.describe("Where no key is asked for, whoever knows it may read, end and delete the job; else its key alone."),
	state: JobState,
	mode: JobMode.describe("interactive: ended where nobody reads its events; background: made and kept in any case."),
	created_at: Time,
	ended_at: Time.nullable(),
	expires_at: Time.nullable().describe("When an ended job is deleted, in seconds since 1970."),
	model: z.string(),
	policy: z.string(),
	seed: Seed,
	width: z.int(),
	height: z.int(),
	plan: StagePlan,
	until: z.int().optional().describe("The last scale to run."),
	scales: z.object({ made: z.int(), of: z.int() }),
	cached: z.boolean().describe("Whether the picture was there already, of the same request before."),
	place: z.int().nullable().describe("Jobs before it in the queue; null unless it waits there."),
	estimate_seconds: z
		.number()
		.nullable()
		.describe("Until it is done, by what its workers took before; null where that is not known."),
	error: z.object({ code: ErrorEvent.shape.code, message: ErrorEvent.shape.message }).nullable(),
	webhook: z
		.object({ state: z.enum(["waiting", "delivered", "failed"]), tries: z.int() })
		.nullable()
		.describe("How it stands with the webhook that was asked for."),
	links: z.object({
		self: z.url(),
		events: z.url().describe("Server-sent events, from the first on or after Last-Event-ID."),
		image: z.url().nullable().describe("The finished picture, by an address that is signed and ends."),
	}),
});
export type JobResource = z.infer<typeof JobResource>;

export const JobList = z.object({ object: z.literal("list"), data: z.array(JobResource) });
export type JobList = z.infer<typeof JobList>;

/** What a webhook brings, in the form of standardwebhooks.com. */
export const WebhookMessage = z.object({
	type: z.enum(["job.done", "job.failed", "job.cancelled"]),
	timestamp: z.iso.datetime().describe("When the job ended."),
	data: JobResource,
});
export type WebhookMessage = z.infer<typeof WebhookMessage>;
