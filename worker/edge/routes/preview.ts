/** GET /v1/images/preview: a picture scale by scale, made for EventSource. */
import type { Context } from "hono";
import { z } from "zod";
import { MAX_PLAN_QUERY_CHARS, MAX_SEED } from "../../protocol/limits.ts";
import { MAX_SCALES, type StagePlan } from "../../protocol/plan.ts";
import { asApiError, invalid, invalidInput } from "../http/errors.ts";
import { Class, Name, Prompt, queryOf, requireOneWay, requireSubject, Seed, subjectOf, whole } from "../http/input.ts";
import { knownPrompt } from "../http/prompt.ts";
import { randomSeed } from "../http/seeds.ts";
import { COMMENT, SSE_HEADERS, sseEvent, sseResponse } from "../http/sse.ts";
import { Warnings } from "../http/warnings.ts";
import { follow, jobGone, jobId } from "../job/follow.ts";
import { branchOf } from "../job/trunk.ts";
import { type App, settingsOf } from "../settings.ts";
import { chooseModel, givenPlan, makePlan, startJob } from "../start.ts";

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
	policy: Name.optional().describe("How late scales are accelerated; exact when left out."),
	plan: PlanText.optional().describe("JSON of a plan in place of a policy."),
	model: Name.optional().describe("The first worker's first model when left out or auto."),
	schedule: Name.optional().describe("One of the model's, for example 1:1."),
	format: z.enum(["png", "webp", "jpeg"], "must be png, webp or jpeg").default("png"),
	until: numeric(whole(0, MAX_SCALES - 1), "must be the number of a scale")
		.optional()
		.describe("The last scale to run: a sketch, whose picture is what there is then."),
	from: z
		.string()
		.regex(/^[0-9a-f]{64}$/, "must be the id of a job")
		.optional()
		.describe("A job whose first scales the picture begins with."),
	scales: numeric(whole(1, MAX_SCALES), "must be a number of scales").optional().describe("How many of them."),
});

/** Quality of lossy previews and pictures where none was asked for. */
const QUALITY = 90;

export async function preview(c: Context<App>): Promise<Response> {
	// A HEAD must not cost a picture.
	if (c.req.method === "HEAD") return new Response(null, { headers: SSE_HEADERS });

	const { lastEventId, ...query } = queryOf(c.req.url);
	const from = c.req.header("last-event-id") ?? lastEventId;
	if (from) return resume(c, from);

	const parsed = Query.safeParse(query, { reportInput: true });
	if (!parsed.success) throw invalidInput(parsed.error);
	const { seed = randomSeed(), policy = "exact", schedule, format, until, from: other, scales } = parsed.data;
	if ((other === undefined) !== (scales === undefined))
		throw invalid("scales", "from and scales go together: a job, and how many of its first scales to take over.");
	requireSubject(parsed.data);
	requireOneWay(parsed.data);
	const { caller } = c.var;
	const warnings = new Warnings(settingsOf(c.env));
	const { model, requireRoom } = await chooseModel(c.env, parsed.data.model, warnings);
	const subject = subjectOf(model, parsed.data);
	const plan =
		parsed.data.plan === undefined ? makePlan(model, policy, schedule) : givenPlan(model, parsed.data.plan, schedule);
	const branch = other && scales ? await branchOf(c.env, { from: other, scales }, plan, seed, caller.owner) : undefined;
	if (until !== undefined) requireEnd(plan, until, scales);
	const known = subject.prompt === undefined ? undefined : await knownPrompt(c.env, model, subject.prompt);
	warnings.unknownWords(known?.unknownWords);
	requireRoom();
	const job = await startJob(c.env, {
		caller,
		model,
		plan,
		subject,
		seed,
		previews: "all",
		format: { type: format, quality: QUALITY },
		until,
		branch,
		unknownWords: known?.unknownWords,
	});
	return events(c, job, -1, warnings);
}

/** A sketch ends with a scale that surely runs: with no other would there be a picture. */
function requireEnd({ steps, decide }: StagePlan, until: number, takenOver = 1): void {
	if (until < takenOver - 1) throw invalid("until", "until: ends before the scales that are taken over.");
	const last = decide?.after ?? steps.findLastIndex(({ kind }) => kind === "run");
	if (steps[until]?.kind !== "run" || until > last)
		throw invalid("until", `until: this plan surely runs scales up to ${last}; end with one of those.`);
}

/**
 * An EventSource that lost its connection repeats its GET with the last id it saw: it gets its own job's next events.
 */
async function resume(c: Context<App>, lastEventId: string): Promise<Response> {
	const match = /^([0-9a-f]{64})(?:\.(\d{1,9}))?$/.exec(lastEventId);
	if (!match) throw invalid("lastEventId", "Last-Event-ID must be the id of an event of this route: <job>.<number>.");
	/** A job alone is read from its beginning. */
	const after = Number(match[2] ?? -1);
	const id = jobId(c.env, match[1]);
	const seen = id && (await c.env.JOB.get(id).seen(c.var.caller.owner, after));
	if (seen === null) throw jobGone();
	// 204 is how an EventSource is told to stop coming back.
	if (seen) return new Response(null, { status: 204 });
	return events(c, match[1], after);
}

function events(c: Context<App>, job: string, after: number, warnings?: Warnings): Response {
	const make = async function* (signal: AbortSignal) {
		yield "retry: 1000\n\n";
		try {
			for await (const row of follow(c.env, job, after, signal, c.var.caller.owner)) {
				yield row === null ? COMMENT : sseEvent(row.type, row.json, `${job}.${row.n}`);
			}
		} catch (error) {
			// Without an id: the job may go on, and the reader can come back to where it was.
			const { code, message } = asApiError(error, c.var.requestId);
			yield sseEvent("error", JSON.stringify({ type: "error", code, message }));
		}
	};
	return sseResponse(c.req.raw, make, warnings?.headers());
}
