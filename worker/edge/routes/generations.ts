/** POST /v1/images/generations: OpenAI's shape, answered whole or as a stream of partial images. */
import type { Context } from "hono";
import { endTime, setMetric, startTime } from "hono/timing";
import { z } from "zod";
import { policyOfQuality } from "../../policies/quality.ts";
import type { FinalEvent, ImageFormat, ScaleEvent } from "../../protocol/job.ts";
import { MAX_REQUEST_BYTES } from "../../protocol/limits.ts";
import type { ModelInfo } from "../../protocol/model-info.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import type { Caller } from "../auth/caller.ts";
import { pictureUrl } from "../auth/picture-url.ts";
import { readJson } from "../http/body.ts";
import { ApiError, asApiError, jobError } from "../http/errors.ts";
import { subjectOf } from "../http/input.ts";
import { knownPrompt } from "../http/prompt.ts";
import { randomSeed, siblingSeed } from "../http/seeds.ts";
import { type Size, type Sized, sized, text } from "../http/sizes.ts";
import { COMMENT, sseEvent, sseResponse } from "../http/sse.ts";
import { Warnings } from "../http/warnings.ts";
import { follow } from "../job/follow.ts";
import type { Owner } from "../objects.ts";
import { type App, type Env, settingsOf } from "../settings.ts";
import { chooseModel, givenPlan, type JobInput, makePlan, startJob, startJobs } from "../start.ts";
import { asUrl, type Body, parseBody, qualityOf } from "./generations-body.ts";

const Tokens = z.int().min(0);
const Usage = z.strictObject({
	input_tokens: Tokens.describe("Of the prompt; an estimate where the edge has no tokenizer of the model."),
	output_tokens: Tokens.describe("Sampled."),
	total_tokens: Tokens,
	input_tokens_details: z.strictObject({ text_tokens: Tokens, image_tokens: Tokens }),
});
type Usage = z.infer<typeof Usage>;

/** What is said of pictures, whole or in a stream. */
const About = z.strictObject({
	background: z.literal("opaque"),
	output_format: z.enum(["png", "webp", "jpeg"]),
	quality: z.enum(["low", "medium", "high"]).describe("In OpenAI's words: what stands for the policy that ran."),
	size: z.string().describe("Of the pictures, WIDTHxHEIGHT."),
});
type About = z.infer<typeof About>;

export const Answer = z.strictObject({
	created: z.int(),
	...About.shape,
	data: z.array(
		z.strictObject({
			b64_json: z.base64().optional(),
			url: z.url().optional().describe("Good for an hour."),
			seed: z.int(),
		}),
	),
	usage: Usage,
	seed: z.int(),
	policy: z.string(),
	model: z.string(),
	unknownWords: z.array(z.string()).optional().describe("Words of the prompt that the model does not know."),
});
type Answer = z.infer<typeof Answer>;

/** What was asked for, ready to be queued, and what is known of it before it is made. */
interface Order {
	input: JobInput;
	about: About;
	usage: Usage;
	/** For the headers. */
	warning: Record<string, string>;
}

export async function generations(c: Context<App>): Promise<Response> {
	startTime(c, "admission");
	const settings = settingsOf(c.env);
	const warnings = new Warnings(settings);
	const body = parseBody(await readJson(c.req.raw, MAX_REQUEST_BYTES, settings.BODY_SECONDS), warnings, settings);
	const order = await orderOf(c.env, c.var.caller, body, warnings);
	return body.stream ? streamed(c, order) : whenDone(c, order, body);
}

async function orderOf(env: Env, caller: Caller, body: Body, warnings: Warnings): Promise<Order> {
	const { model, requireRoom } = await chooseModel(env, body.model, warnings);
	const subject = subjectOf(model, body);
	const asked = sized(model, body.size, warnings);
	const plan = planOf(body, model, asked);
	const known = subject.prompt === undefined ? undefined : await knownPrompt(env, model, subject.prompt);
	warnings.unknownWords(known?.unknownWords);
	requireRoom();
	const input: JobInput = {
		caller,
		model,
		plan,
		subject,
		seed: body.seed ?? randomSeed(),
		previews: body.stream && body.partial_images > 0 ? body.partial_images : "none",
		format: formatOf(body, asked.resized),
		unknownWords: known?.unknownWords,
	};
	return {
		input,
		about: {
			background: "opaque",
			output_format: body.output_format,
			quality: qualityMade(body, plan),
			size: text(asked.resized ?? model.schedules[plan.schedule].image),
		},
		usage: usageOf(known?.tokens ?? estimate(subject.prompt ?? "", model), model, plan),
		warning: warnings.headers(),
	};
}

/** A `policy` named is taken at its word; a `quality` is a wish, which what was measured of the model answers. */
function planOf(body: Body, model: ModelInfo, { schedule }: Sized): StagePlan {
	if (body.plan !== undefined) return givenPlan(model, body.plan, body.size === "auto" ? undefined : schedule);
	return makePlan(model, body.policy ?? policyOfQuality(qualityOf(body), model, schedule), schedule);
}

function formatOf({ output_format, output_compression }: Body, size: Size | undefined): ImageFormat {
	const quality = output_format === "png" ? 100 : Math.max(1, output_compression);
	return { type: output_format, quality, ...(size && { size }) };
}

function qualityMade(body: Body, plan: StagePlan): About["quality"] {
	if (plan.policy === "exact") return "high";
	const asked = qualityOf(body);
	if (body.policy === undefined && body.plan === undefined && asked !== "high") return asked;
	return plan.steps.some(({ kind }) => kind === "skip") ? "low" : "medium";
}

/** Without a tokenizer, tokens are a quarter of the prompt's bytes, at most what the model takes. */
const estimate = (prompt: string, model: ModelInfo): number =>
	Math.min(model.maxPromptTokens, Math.ceil(new TextEncoder().encode(prompt).length / 4));

/** Output tokens are those sampled. */
function usageOf(input: number, model: ModelInfo, plan: StagePlan): Usage {
	const { grids } = model.schedules[plan.schedule];
	const output = plan.steps.reduce(
		(sum, { kind }, scale) => (kind === "run" ? sum + grids[scale][0] * grids[scale][1] : sum),
		0,
	);
	return counted(input, output);
}

const counted = (input: number, output: number): Usage => ({
	input_tokens: input,
	output_tokens: output,
	total_tokens: input + output,
	input_tokens_details: { text_tokens: input, image_tokens: 0 },
});

async function whenDone(c: Context<App>, { input, about, usage, warning }: Order, body: Body): Promise<Response> {
	const created = now();
	// One picture that fails, or a caller who leaves, ends the wait for all; their jobs notice by their readers' absence.
	const reader = new AbortController();
	const leave = () => reader.abort();
	c.req.raw.signal.addEventListener("abort", leave, { once: true });
	try {
		const seeds = Array.from({ length: body.n }, (_, i) => siblingSeed(input.seed, i));
		const jobs = await startJobs(c.env, input, seeds);
		endTime(c, "admission");
		const made = await Promise.all(jobs.map((job) => finished(c.env, job, reader.signal, input.caller.owner)));
		timed(c, made);
		const { origin } = new URL(c.req.url);
		const answer: Answer = {
			created,
			...about,
			data: await Promise.all(
				made.map(async ({ final: { base64, seed } }, i) => ({
					...(asUrl(body) ? { url: await pictureUrl(c.env, origin, jobs[i]) } : { b64_json: base64 }),
					seed,
				})),
			),
			usage: counted(usage.input_tokens * body.n, usage.output_tokens * body.n),
			seed: input.seed,
			policy: input.plan.policy,
			model: input.model.id,
			unknownWords: input.unknownWords,
		};
		return Response.json(answer, { headers: { "cache-control": "no-store", ...warning } });
	} finally {
		leave();
	}
}

interface Finished {
	final: FinalEvent;
	/** Milliseconds: since it was queued, and of all scales on the worker. */
	since: number;
	scales: number;
}

async function finished(env: Env, job: string, signal: AbortSignal, owner: Owner): Promise<Finished> {
	const queued = Date.now();
	let scales = 0;
	for await (const row of follow(env, job, 0, signal, owner)) {
		if (row?.type === "scale") scales += (JSON.parse(row.json) as ScaleEvent).milliseconds;
		if (row?.type === "final") return { final: JSON.parse(row.json) as FinalEvent, since: Date.now() - queued, scales };
		if (row?.type === "error") throw jobError(JSON.parse(row.json));
	}
	throw new ApiError(499, "client_closed_request", "The caller went away before the picture was finished.");
}

/** Server-Timing of the picture that took longest: what is neither scales nor the worker's is the wait for it. */
function timed(c: Context<App>, made: readonly Finished[]): void {
	const { final, since, scales } = made.reduce((a, b) => (b.since > a.since ? b : a));
	setMetric(c, "queue", Math.max(0, since - final.milliseconds), "waiting and delivery");
	setMetric(c, "scales", scales, "transformer and previews");
	setMetric(c, "rest", Math.max(0, final.milliseconds - scales), "text and decoder");
}

async function streamed(c: Context<App>, { input, about, usage, warning }: Order): Promise<Response> {
	const job = await startJob(c.env, input);
	const events = async function* (signal: AbortSignal) {
		// Headers and first bytes leave at once, however long the queue is.
		yield COMMENT;
		let partial = 0;
		try {
			for await (const row of follow(c.env, job, 0, signal, input.caller.owner)) {
				if (row === null) yield COMMENT;
				else if (row.type === "scale") {
					const { base64 } = JSON.parse(row.json) as ScaleEvent;
					if (base64 !== null)
						yield openaiEvent("image_generation.partial_image", {
							b64_json: base64,
							partial_image_index: partial++,
							created_at: now(),
							...about,
						});
				} else if (row.type === "final") {
					const { base64, seed } = JSON.parse(row.json) as FinalEvent;
					yield openaiEvent("image_generation.completed", {
						b64_json: base64,
						created_at: now(),
						...about,
						usage,
						seed,
						policy: input.plan.policy,
						model: input.model.id,
						unknownWords: input.unknownWords,
					});
				} else if (row.type === "error") throw jobError(JSON.parse(row.json));
			}
		} catch (error) {
			// The openai client throws on this event, with the object as its error.
			yield sseEvent("error", JSON.stringify(asApiError(error, c.var.requestId).body));
		}
	};
	return sseResponse(c.req.raw, events, warning);
}

function openaiEvent(type: string, fields: Record<string, unknown>): string {
	return sseEvent(type, JSON.stringify({ type, ...fields }));
}

function now(): number {
	return Math.floor(Date.now() / 1000);
}
