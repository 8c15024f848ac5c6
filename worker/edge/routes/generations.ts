/** POST /v1/images/generations: OpenAI's shape, answered whole or as a stream of partial images. */
import type { Context } from "hono";
import { z } from "zod";
import { type FinalEvent, type ImageFormat, type ScaleEvent, Seed } from "../../protocol/job.ts";
import { MAX_CLASSES, MAX_IMAGES_PER_REQUEST, MAX_PARTIAL_IMAGES, MAX_REQUEST_BYTES } from "../../protocol/limits.ts";
import type { ModelInfo } from "../../protocol/model-info.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import { readJson } from "../body.ts";
import { ApiError, asApiError, invalid, invalidInput, jobError } from "../errors.ts";
import { follow } from "../follow.ts";
import { Name, Prompt, requireOneWay, requireSubject, subjectOf } from "../input.ts";
import { randomSeed, siblingSeed } from "../seeds.ts";
import type { App, Env } from "../settings.ts";
import { COMMENT, sseEvent, sseResponse } from "../sse.ts";
import { chooseModel, givenPlan, type JobInput, makePlan, startJob, usable } from "../start.ts";

const whole = (from: number, to: number) =>
	z
		.int(`must be a whole number from ${from} to ${to}`)
		.min(from, `must be at least ${from}`)
		.max(to, `must be at most ${to}`);
const Quality = z.enum(
	["auto", "standard", "hd", "low", "medium", "high"],
	"must be auto, low, medium, high, standard or hd",
);

const Body = z.strictObject({
	prompt: Prompt.optional(),
	model: Name.optional(),
	n: whole(1, MAX_IMAGES_PER_REQUEST).default(1),
	size: z.string().max(32, "must be auto or WIDTHxHEIGHT").default("auto"),
	quality: Quality.default("auto"),
	output_format: z.enum(["png", "webp", "jpeg"], "must be png, webp or jpeg").default("png"),
	output_compression: whole(0, 100).default(100),
	response_format: z.enum(["b64_json", "url"], "must be b64_json").default("b64_json"),
	background: z.enum(["auto", "opaque", "transparent"], "must be auto or opaque").default("auto"),
	stream: z.boolean("must be true or false").default(false),
	partial_images: whole(0, MAX_PARTIAL_IMAGES).default(0),
	// Ours.
	class: whole(0, MAX_CLASSES - 1).optional(),
	seed: Seed.optional(),
	policy: Name.optional(),
	plan: z.unknown().optional(),
	// Accepted without effect: there is nothing here that they could change.
	user: z.string().max(1024).optional(),
	safety_identifier: z.string().max(1024).optional(),
	moderation: z.enum(["auto", "low"], "must be auto or low").optional(),
});
type Body = z.infer<typeof Body>;

const policyOfQuality: Record<z.infer<typeof Quality>, string> = {
	auto: "exact",
	high: "exact",
	hd: "exact",
	medium: "stagevar",
	standard: "stagevar",
	low: "stagevar-released",
};

export async function generations(c: Context<App>): Promise<Response> {
	const body = parseBody(await readJson(c.req.raw, MAX_REQUEST_BYTES));
	const model = await chooseModel(c.env, body.model);
	const subject = subjectOf(model, body);
	const plan = planOf(body, model);
	const seed = body.seed ?? randomSeed();
	const input: JobInput = {
		model,
		plan,
		subject,
		seed,
		previews: body.stream && body.partial_images > 0 ? body.partial_images : "none",
		format: formatOf(body),
	};
	const about = describe(body, model, plan);
	return body.stream ? streamed(c, input, about) : whenDone(c, input, about, body.n);
}

/** The request with nulls as absent, which is how OpenAI's API takes them, and what we cannot honour refused. */
function parseBody(json: unknown): Body {
	if (json === null || typeof json !== "object" || Array.isArray(json))
		throw new ApiError(400, "invalid_value", "The body must be a JSON object with at least a prompt.");
	const parsed = Body.safeParse(Object.fromEntries(Object.entries(json).filter(([, value]) => value !== null)), {
		reportInput: true,
	});
	if (!parsed.success) throw invalidInput(parsed.error);
	const body = parsed.data;
	requireSubject(body);
	requireOneWay(body);
	if (body.plan !== undefined && body.quality !== "auto")
		throw invalid(
			"quality",
			"quality: chooses a policy, and a plan stands in place of one; leave quality out, or use auto.",
		);
	if (body.response_format === "url")
		throw invalid(
			"response_format",
			"Pictures are not kept at URLs here. Use response_format b64_json, or leave it out.",
		);
	if (body.background === "transparent")
		throw invalid("background", "The models here paint no transparency. Use background auto or opaque.");
	if (body.output_format === "png" && body.output_compression !== 100)
		throw invalid("output_compression", "PNG is lossless: output_compression applies to webp and jpeg.");
	if (body.stream && body.n > 1)
		throw invalid("n", "A stream carries one picture. Use n 1 with stream, or stream false.");
	if (!body.stream && body.partial_images > 0)
		throw invalid(
			"partial_images",
			"Partial images are sent in a stream only. Add stream true, or use partial_images 0.",
		);
	return body;
}

function planOf(body: Body, model: ModelInfo): StagePlan {
	if (body.plan !== undefined)
		return givenPlan(model, body.plan, body.size === "auto" ? undefined : scheduleOfSize(model, body.size));
	const schedule = scheduleOfSize(model, body.size);
	return makePlan(model, policyOf(body, model, schedule), schedule);
}

function scheduleOfSize(model: ModelInfo, size: string): string {
	if (size === "auto") return model.defaultSchedule;
	const schedules = Object.entries(model.schedules);
	// The default schedule first, in case two have the same size.
	schedules.sort(([a], [b]) => Number(b === model.defaultSchedule) - Number(a === model.defaultSchedule));
	const schedule = schedules.find(([name]) => sizeOf(model, name) === size);
	if (!schedule) {
		const sizes = [...new Set(schedules.map(([name]) => sizeOf(model, name)))];
		throw invalid("size", `Model ${model.id} does not make ${size}. Sizes: auto, ${sizes.join(", ")}.`);
	}
	return schedule[0];
}

/**
 * A `policy` named is taken at its word; a `quality` is a wish, and where its policy cannot plan the schedule, exact is
 * better.
 */
function policyOf({ policy, quality }: Body, model: ModelInfo, schedule: string): string {
	if (policy !== undefined) return policy;
	return usable(model, policyOfQuality[quality], schedule) ? policyOfQuality[quality] : "exact";
}

function formatOf({ output_format, output_compression }: Body): ImageFormat {
	return { type: output_format, quality: Math.max(1, output_compression) };
}

function sizeOf(model: ModelInfo, schedule: string): string {
	const { width, height } = model.schedules[schedule].image;
	return `${width}x${height}`;
}

interface About {
	background: "opaque";
	output_format: ImageFormat["type"];
	/** In OpenAI's words: the quality that stands for the policy that ran. */
	quality: "low" | "medium" | "high";
	size: string;
	usage: Usage;
}
interface Usage {
	input_tokens: number;
	output_tokens: number;
	total_tokens: number;
	input_tokens_details: { text_tokens: number; image_tokens: number };
}

function describe(body: Body, model: ModelInfo, plan: StagePlan): About {
	return {
		background: "opaque",
		output_format: body.output_format,
		quality: plan.policy === "exact" ? "high" : plan.steps.some(({ kind }) => kind === "skip") ? "low" : "medium",
		size: sizeOf(model, plan.schedule),
		usage: usage(body.prompt ?? "", model, plan),
	};
}

/**
 * Output tokens are those sampled. The edge has no tokenizer: input tokens are a quarter of the prompt's bytes, at most
 * what the model takes.
 */
function usage(prompt: string, model: ModelInfo, plan: StagePlan): Usage {
	const text = Math.min(model.maxPromptTokens, Math.ceil(new TextEncoder().encode(prompt).length / 4));
	const { grids } = model.schedules[plan.schedule];
	const image = plan.steps.reduce(
		(sum, { kind }, scale) => (kind === "run" ? sum + grids[scale][0] * grids[scale][1] : sum),
		0,
	);
	return {
		input_tokens: text,
		output_tokens: image,
		total_tokens: text + image,
		input_tokens_details: { text_tokens: text, image_tokens: 0 },
	};
}

async function whenDone(c: Context<App>, input: JobInput, { usage, ...about }: About, n: number): Promise<Response> {
	const created = now();
	// One picture that fails, or a caller who leaves, ends the wait for all; their jobs notice by their readers' absence.
	const reader = new AbortController();
	const leave = () => reader.abort();
	c.req.raw.signal.addEventListener("abort", leave, { once: true });
	try {
		const seeds = Array.from({ length: n }, (_, i) => siblingSeed(input.seed, i));
		const finals = await Promise.all(
			seeds.map(async (seed) => finalOf(c.env, await startJob(c.env, { ...input, seed }), reader.signal)),
		);
		return Response.json(
			{
				created,
				...about,
				data: finals.map(({ base64, seed }) => ({ b64_json: base64, seed })),
				usage: {
					input_tokens: usage.input_tokens * n,
					output_tokens: usage.output_tokens * n,
					total_tokens: usage.total_tokens * n,
					input_tokens_details: { text_tokens: usage.input_tokens * n, image_tokens: 0 },
				},
				seed: input.seed,
				policy: input.plan.policy,
				model: input.model.id,
			},
			{ headers: { "cache-control": "no-store" } },
		);
	} finally {
		leave();
	}
}

async function finalOf(env: Env, job: string, signal: AbortSignal): Promise<FinalEvent> {
	for await (const row of follow(env, job, 0, signal)) {
		if (row?.type === "final") return JSON.parse(row.json) as FinalEvent;
		if (row?.type === "error") throw jobError(JSON.parse(row.json));
	}
	throw new ApiError(499, "client_closed_request", "The caller went away before the picture was finished.");
}

async function streamed(c: Context<App>, input: JobInput, { usage, ...about }: About): Promise<Response> {
	const job = await startJob(c.env, input);
	return sseResponse(c.req.raw, async function* (signal) {
		// Headers and first bytes leave at once, however long the queue is.
		yield COMMENT;
		let partial = 0;
		try {
			for await (const row of follow(c.env, job, 0, signal)) {
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
					});
				} else if (row.type === "error") throw jobError(JSON.parse(row.json));
			}
		} catch (error) {
			// The openai client throws on this event, with the object as its error.
			yield sseEvent("error", JSON.stringify(asApiError(error, c.var.requestId).body));
		}
	});
}

function openaiEvent(type: string, fields: Record<string, unknown>): string {
	return sseEvent(type, JSON.stringify({ type, ...fields }));
}

function now(): number {
	return Math.floor(Date.now() / 1000);
}
