/** What there is: GET /v1/models, /v1/models/:model, /v1/policies, /healthz. */
import type { Context } from "hono";
import { z } from "zod";
import { vocabularyOf } from "../../families/text/tokenizer.ts";
import { policies } from "../../policies/index.ts";
import { policyOfQuality } from "../../policies/quality.ts";
import { canPlan } from "../../policies/validate.ts";
import { Adapter, Loading } from "../../protocol/messages.ts";
import { ModelInfo } from "../../protocol/model-info.ts";
import { sizesOf } from "../http/sizes.ts";
import { statusOfAll } from "../pool/router.ts";
import { type App, type Env, settingsOf } from "../settings.ts";
import { findModel, modelNotFound } from "../start.ts";

type C = Context<App>;

export async function models(c: C): Promise<Response> {
	const status = await statusOfAll(c.env);
	return c.json({ object: "list", data: status.models.map((found) => describe(found, c.env)) });
}

export async function model(c: C): Promise<Response> {
	const id = c.req.param("model") ?? "";
	const status = await statusOfAll(c.env);
	const found = findModel(status, c.env, id);
	if (!found) throw modelNotFound(status, id);
	return c.json(describe(found, c.env));
}

/** OpenAI's model object, and everything we know of the model. */
export const ModelDescription = z.strictObject({
	object: z.literal("model"),
	created: z.int().describe("When the first worker that offers it came, in seconds since 1970."),
	owned_by: z.literal("firstlight"),
	...ModelInfo.omit({ tokenizer: true }).shape,
	sizes: z.array(z.string()).describe("Made without resizing, as WIDTHxHEIGHT."),
	qualities: z
		.record(z.enum(["high", "medium", "low"]), z.string())
		.describe("The policy that each quality stands for, by what was measured of the model."),
	vocabulary: z
		.array(z.string())
		.optional()
		.describe("Every word the model knows, in lower case. Absent where it takes any text."),
	files: z
		.string()
		.optional()
		.describe("Where its files can be had by anyone, for browsers that run it; relative to where the page lies."),
});
type ModelDescription = z.infer<typeof ModelDescription>;

function describe(
	{ info: { tokenizer, ...info }, since }: { info: ModelInfo; since: number },
	env: Env,
): ModelDescription {
	return {
		object: "model",
		created: Math.floor(since / 1000),
		owned_by: "firstlight",
		...info,
		sizes: sizesOf(info),
		qualities: {
			high: policyOfQuality("high", info),
			medium: policyOfQuality("medium", info),
			low: policyOfQuality("low", info),
		},
		vocabulary: vocabularyOf(tokenizer),
		...(settingsOf(env).PUBLIC_MODELS.includes(info.id) && { files: `v1/models/${info.id}/files` }),
	};
}

export const PolicyDescription = z.strictObject({
	name: z.string(),
	title: z.string(),
	models: z.record(z.string(), z.array(z.string())).describe("By model, the schedules that it can plan."),
});
type PolicyDescription = z.infer<typeof PolicyDescription>;

export async function policyList(c: C): Promise<Response> {
	const { models } = await statusOfAll(c.env);
	return c.json({
		object: "list",
		data: Object.values(policies).map(
			(policy): PolicyDescription => ({
				name: policy.name,
				title: policy.title,
				models: Object.fromEntries(
					models.map(({ info }) => [
						info.id,
						Object.keys(info.schedules).filter((schedule) => canPlan(policy, info, schedule)),
					]),
				),
			}),
		),
	});
}

export const Health = z.strictObject({
	status: z.enum(["ok", "no-workers"]),
	workers: z.array(
		z.strictObject({
			adapter: z.string(),
			software: z.boolean().describe("Whether the adapter runs on the CPU."),
			runtime: Adapter.shape.runtime,
			driver: z.string(),
			models: z.array(z.string()),
			busy: z.int().describe("Pictures in hand."),
			slots: z.int(),
			draining: z.boolean(),
		}),
	),
	models: z.array(z.string()),
	loading: z
		.array(z.strictObject(Loading.omit({ worker: true }).shape))
		.describe("How far workers are that are not ready yet: weights come first, then the kernels are compiled."),
	queue: z.int().describe("Pictures that wait for a worker."),
	pictures: z.int().describe("Pictures that wait or are being made: what to scale workers by."),
});
type Health = z.infer<typeof Health>;

export async function health(c: C): Promise<Response> {
	const { workers, models, loading, queue, load } = await statusOfAll(c.env);
	const ok = models.length > 0;
	return c.json<Health, 200 | 503>(
		{
			status: ok ? "ok" : "no-workers",
			workers: workers.map(({ adapter, models, busy, slots, draining }) => ({
				adapter: adapter.name,
				software: adapter.software,
				runtime: adapter.runtime,
				driver: adapter.driver,
				models: models.map(({ id }) => id),
				busy,
				slots,
				draining,
			})),
			models: models.map(({ info }) => info.id),
			loading: loading.map(({ worker: _, ...said }) => said),
			queue,
			pictures: load,
		},
		ok ? 200 : 503,
		{ "cache-control": "no-store" },
	);
}
