/** POST /v1/images/generations: OpenAI's shape, answered whole or as a stream of partial images. */
import type { Context } from "hono";
import { endTime, setMetric, startTime } from "hono/timing";
import { z } from "zod";
import type { FinalEvent, ScaleEvent } from "../../protocol/job.ts";
import { MAX_REQUEST_BYTES } from "../../protocol/limits.ts";
import type { ModelInfo } from "../../protocol/model-info.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import { pictureUrl } from "../auth/picture-url.ts";
import { readJson } from "../http/body.ts";
import { ApiError, asApiError, jobError } from "../http/errors.ts";
import { outlasting } from "../http/outlast.ts";
import { siblingSeed } from "../http/seeds.ts";
import { text } from "../http/sizes.ts";
import { COMMENT, sseEvent, sseResponse } from "../http/sse.ts";
import { Warnings } from "../http/warnings.ts";
import { follow } from "../job/follow.ts";
import { hintsOf, orderOf, ownedBy } from "../job/order.ts";
import type { Owner } from "../objects.ts";
import { type App, type Env, settingsOf } from "../settings.ts";
import { type JobInput, startJobs } from "../start.ts";
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
			cached: z.boolean().optional().describe("Whether it was there already, of the same request before."),
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
	headers: Record<string, string>;
}

export async function generations(c: Context<App>): Promise<Response> {
	startTime(c, "admission");
	const settings = settingsOf(c.env);
	const warnings = new Warnings(settings);
	const body = parseBody(await readJson(c.req.raw, MAX_REQUEST_BYTES, settings.BODY_SECONDS), warnings);
	const order = await asAsked(c, body, warnings);
	return body.stream ? streamed(c, order) : whenDone(c, order, body);
}

async function asAsked(c: Context<App>, body: Body, warnings: Warnings): Promise<Order> {
	const { prompt, model, size, seed, policy, plan, stream, partial_images, output_format, output_compression } = body;
	const order = await orderOf(
		c.env,
		{
			prompt,
			class: body.class,
			model,
			size,
			seed,
			policy,
			plan,
			// A policy that is named overrules OpenAI's field, whose auto is the best.
			quality: policy === undefined && plan === undefined ? qualityOf(body) : undefined,
			maxMs: body.max_ms,
			hints: hintsOf(c.req.raw),
			previews: stream && partial_images > 0 ? partial_images : "none",
			format: { type: output_format, quality: output_format === "png" ? 100 : Math.max(1, output_compression) },
		},
		ownedBy(c, body.cache),
		warnings,
	);
	const { input, known } = order;
	return {
		input,
		about: {
			background: "opaque",
			output_format,
			quality: qualityMade(body, input.plan),
			size: text(order.size),
		},
		usage: usageOf(known?.tokens ?? estimate(input.subject.prompt ?? "", input.model), input.model, input.plan),
		headers: { ...order.headers, ...warnings.headers() },
	};
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

async function whenDone(c: Context<App>, { input, about, usage, headers }: Order, body: Body): Promise<Response> {
	const created = now();
	// One picture that fails, or a caller who leaves, ends the wait for all; their jobs notice by their readers' absence.
	const reader = new AbortController();
	const leave = () => reader.abort();
	c.req.raw.signal.addEventListener("abort", leave, { once: true });
	try {
		const seeds = Array.from({ length: body.n }, (_, i) => siblingSeed(input.seed, i));
		const jobs = await outlasting(startJobs(c.env, input, seeds));
		endTime(c, "admission");
		const made = await Promise.all(jobs.map(({ id }) => finished(c.env, id, reader.signal, input.caller.owner)));
		timed(c, made);
		const { origin } = new URL(c.req.url);
		const expires = Math.floor(now() + settingsOf(c.env).JOB_KEEP_SECONDS);
		const answer: Answer = {
			created,
			...about,
			data: await Promise.all(
				made.map(async ({ final: { base64, seed } }, i) => ({
					...(asUrl(body) ? { url: await pictureUrl(c.env, origin, jobs[i].id, expires) } : { b64_json: base64 }),
					seed,
					...(jobs[i].cached && { cached: true }),
				})),
			),
			usage: counted(usage.input_tokens * body.n, usage.output_tokens * body.n),
			seed: input.seed,
			policy: input.plan.policy,
			model: input.model.id,
			unknownWords: input.unknownWords,
		};
		return Response.json(answer, { headers: { "cache-control": "no-store", ...headers } });
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

async function streamed(c: Context<App>, { input, about, usage, headers }: Order): Promise<Response> {
	const [{ id: job, cached }] = await outlasting(startJobs(c.env, input, [input.seed]));
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
						...(cached && { cached }),
					});
				} else if (row.type === "error") throw jobError(JSON.parse(row.json));
			}
		} catch (error) {
			// The openai client throws on this event, with the object as its error.
			yield sseEvent("error", JSON.stringify(asApiError(error, c.var.requestId).body));
		}
	};
	return sseResponse(c.req.raw, events, headers);
}

function openaiEvent(type: string, fields: Record<string, unknown>): string {
	return sseEvent(type, JSON.stringify({ type, ...fields }));
}

function now(): number {
	return Math.floor(Date.now() / 1000);
}
