/** The body of POST /v1/jobs. */
import { z } from "zod";
import { Previews } from "../../protocol/job.ts";
import { JobMode } from "../../protocol/jobs.ts";
import { MAX_IMAGES_PER_BATCH } from "../../protocol/limits.ts";
import { MAX_SCALES } from "../../protocol/plan.ts";
import { WebhookSecret } from "../../protocol/secret.ts";
import { invalid, invalidInput } from "../http/errors.ts";
import { Class, JobId, MaxMs, Name, Prompt, Quality, Seed, whole } from "../http/input.ts";
import { type Keeping, QUALITY, type Wish } from "../job/order.ts";
import { addressProblem } from "../job/webhook.ts";
import type { Settings } from "../settings.ts";

const DAY = 86_400;

/** How the picture is made, kept and told of: the part that all requests for jobs share. */
export const Manner = z.strictObject({
	policy: Name.optional().describe("How late scales are accelerated; auto, or none, as in the preview route."),
	plan: z.unknown().optional().describe("A plan, or its steps, in place of a policy."),
	quality: Quality.optional(),
	max_ms: MaxMs.optional(),
	until: whole(0, MAX_SCALES - 1)
		.optional()
		.describe("The last scale to run: a sketch, whose picture is what there is then."),
	format: z.enum(["png", "webp", "jpeg"], "must be png, webp or jpeg").default("png"),
	compression: whole(1, 100).default(QUALITY).describe("Quality of webp and jpeg."),
	previews: Previews.default("all").describe("Scales whose preview the events carry: all, none, or the last so many."),
	mode: JobMode.default("background").describe(
		"background: made and kept, read or not. interactive: ended where nobody reads its events.",
	),
	ttl_seconds: whole(1, 7 * DAY)
		.optional()
		.describe("Of a background job: how long it is kept after its end, and may at least take before it."),
	webhook: z
		.strictObject({
			url: z
				.string()
				.max(2048)
				.describe(
					"Where the job's end is told, in the form of standardwebhooks.com. HTTPS, or with WEBHOOK_LOCAL " +
						"http://127.0.0.1.",
				),
			secret: WebhookSecret.optional().describe("Signs the message; left out, the operator's."),
		})
		.optional(),
});
export type Manner = z.infer<typeof Manner>;

export const JobBody = z.strictObject({
	prompt: Prompt.optional().describe("What the picture should show. Required, unless the model draws classes."),
	class: Class.optional().describe("The class to draw, in place of a prompt."),
	model: Name.optional().describe("A model's name or alias; the first worker's first model when left out or auto."),
	n: whole(1, MAX_IMAGES_PER_BATCH).default(1).describe("Jobs; the first has the request's seed."),
	seed: Seed.optional().describe("The same seed gives the same picture; -1 or none, a random one."),
	schedule: Name.optional().describe("One of the model's, for example 1:1."),
	size: z.string().max(32).optional().describe("In place of a schedule: auto or WIDTHxHEIGHT."),
	from: JobId.optional().describe("A job whose first scales the picture begins with."),
	scales: whole(1, MAX_SCALES).optional().describe("How many of them."),
	cache: z
		.boolean("must be true or false")
		.default(true)
		.describe("Whether a finished picture of the same request may be given again."),
	...Manner.shape,
});
export type JobBody = z.infer<typeof JobBody>;

/** Of POST /v1/jobs/:job/refine. */
export const RefineBody = z.strictObject({
	scales: whole(1, MAX_SCALES)
		.optional()
		.describe("How many of the job's own first scales are kept; as many as can be when left out."),
	...Manner.shape,
});

/** Of POST /v1/jobs/:job/branch. */
export const BranchBody = z.strictObject({
	from: whole(1, MAX_SCALES).describe("How many of the job's first scales all siblings share."),
	count: whole(1, MAX_IMAGES_PER_BATCH).default(1).describe("Siblings."),
	seed: Seed.optional().describe("Of the first sibling; seeds that follow from the job's own when left out."),
	...Manner.shape,
});

/** The body as `schema` has it, nulls taken as left out. */
export function parsed<S extends typeof JobBody | typeof RefineBody | typeof BranchBody>(
	schema: S,
	json: unknown,
): z.infer<S> {
	const given =
		json !== null && typeof json === "object" && !Array.isArray(json)
			? Object.fromEntries(Object.entries(json).filter(([, value]) => value !== null))
			: json;
	const result = schema.safeParse(given, { reportInput: true });
	if (!result.success) throw invalidInput(result.error);
	return result.data as z.infer<S>;
}

export function keepingOf(
	{ mode, ttl_seconds: ttlSeconds, webhook }: Manner,
	base: string,
	{ WEBHOOK_LOCAL, WEBHOOK_SECRET }: Settings,
): Omit<Keeping, "caller"> {
	if (ttlSeconds !== undefined && mode !== "background")
		throw invalid("ttl_seconds", "ttl_seconds: is for jobs of mode background; leave it out, or the mode.");
	if (webhook) {
		const problem = addressProblem(webhook.url, WEBHOOK_LOCAL);
		if (problem) throw invalid("webhook.url", `webhook.url: ${problem}.`);
		if (webhook.secret === undefined && WEBHOOK_SECRET === undefined)
			throw invalid("webhook.secret", "webhook.secret: is missing, and this edge has none of its own to sign with.");
	}
	return { mode, ttlSeconds, webhook, base };
}

/** What of the wish the shared part says. */
export function wished({ policy, plan, quality, max_ms, until, format, compression, previews }: Manner) {
	return {
		policy,
		plan,
		quality,
		maxMs: max_ms,
		until,
		previews,
		format: { type: format, quality: format === "png" ? 100 : compression },
	} satisfies Wish;
}
