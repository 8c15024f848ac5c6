/** GET /v1/images/preview: a picture scale by scale, made for EventSource. */
import type { Context } from "hono";
import { z } from "zod";
import { MAX_PLAN_QUERY_CHARS, MAX_SEED } from "../../protocol/limits.ts";
import { MAX_SCALES } from "../../protocol/plan.ts";
import { invalidInput } from "../http/errors.ts";
import { Class, JobId, MaxMs, Name, Prompt, Quality, queryOf, Seed, whole } from "../http/input.ts";
import { outlasting } from "../http/outlast.ts";
import { SSE_HEADERS } from "../http/sse.ts";
import { Warnings } from "../http/warnings.ts";
import { hintsOf, orderOf, ownedBy, QUALITY } from "../job/order.ts";
import { type App, settingsOf } from "../settings.ts";
import { startJob } from "../start.ts";
import { eventsOf, lastEventId, resume } from "./events.ts";

/** A number as text, which `schema` then judges. */
const numeric = <Out>(schema: z.ZodType<Out, number>, message: string) =>
	z
		.string()
		.regex(/^-?\d{1,15}$/, message)
		.transform(Number)
		.pipe(schema);

/** JSON text, parsed. */
const PlanText = z
	.string()
	.max(
		MAX_PLAN_QUERY_CHARS,
		`is longer than ${MAX_PLAN_QUERY_CHARS} characters; send it to POST /v1/images/generations`,
	)
	.transform((text, context): unknown => {
		try {
			return JSON.parse(text);
		} catch {
			context.addIssue("is not valid JSON");
			return z.NEVER;
		}
	});

export const Query = z.strictObject({
	prompt: Prompt.optional().describe("What the picture should show."),
	class: numeric(Class, "must be a whole number")
		.optional()
		.describe("In place of a prompt, for a model that draws classes."),
	seed: numeric(Seed, `must be a whole number from 0 to ${MAX_SEED}, or -1 for a random one`)
		.optional()
		.describe("The same seed gives the same picture; -1 or none, a random one."),
	policy: Name.optional().describe(
		"How late scales are accelerated; auto, or none, is what was measured to lose next to nothing, and a thinner one " +
			"under load, for Save-Data and on slow networks.",
	),
	quality: Quality.optional(),
	max_ms: numeric(MaxMs, "must be a number of milliseconds").optional(),
	plan: PlanText.optional().describe("JSON of a plan in place of a policy."),
	model: Name.optional().describe("The first worker's first model when left out or auto."),
	schedule: Name.optional().describe("One of the model's, for example 1:1."),
	format: z.enum(["png", "webp", "jpeg"], "must be png, webp or jpeg").default("png"),
	until: numeric(whole(0, MAX_SCALES - 1), "must be the number of a scale")
		.optional()
		.describe("The last scale to run: a sketch, whose picture is what there is then."),
	from: JobId.optional().describe("A job whose first scales the picture begins with."),
	cache: z
		.enum(["true", "false"], "must be true or false")
		.default("true")
		.transform((text) => text === "true")
		.describe("Whether a finished picture of the same request may be given again."),
	scales: numeric(whole(1, MAX_SCALES), "must be a number of scales").optional().describe("How many of them."),
});

export async function preview(c: Context<App>): Promise<Response> {
	// A HEAD must not cost a picture.
	if (c.req.method === "HEAD") return new Response(null, { headers: SSE_HEADERS });
	const last = lastEventId(c);
	if (last) return resume(c, last);
	const { lastEventId: _, ...query } = queryOf(c.req.url);
	const parsed = Query.safeParse(query, { reportInput: true });
	if (!parsed.success) throw invalidInput(parsed.error);
	const { format, cache, max_ms: maxMs, ...wish } = parsed.data;
	const warnings = new Warnings(settingsOf(c.env));
	const { input, headers } = await orderOf(
		c.env,
		{ ...wish, maxMs, hints: hintsOf(c.req.raw), format: { type: format, quality: QUALITY }, previews: "all" },
		ownedBy(c, cache),
		warnings,
	);
	return eventsOf(c, await outlasting(startJob(c.env, input)), -1, { ...headers, ...warnings.headers() });
}
