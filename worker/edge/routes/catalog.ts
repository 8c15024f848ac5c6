/** What there is: GET /v1/models, /v1/models/:model, /v1/policies, /healthz. */
import type { Context } from "hono";
import { policies } from "../../policies/index.ts";
import type { ModelInfo } from "../../protocol/model-info.ts";
import { ApiError } from "../errors.ts";
import { type App, settingsOf } from "../settings.ts";
import { poolStatus, usable } from "../start.ts";

type C = Context<App>;

export async function models(c: C): Promise<Response> {
	const status = await poolStatus(c.env);
	const { PUBLIC_MODELS } = settingsOf(c.env);
	return c.json({ object: "list", data: status.models.map((model) => describe(model, PUBLIC_MODELS)) });
}

export async function model(c: C): Promise<Response> {
	const id = c.req.param("model");
	const status = await poolStatus(c.env);
	const found = status.models.find(({ info }) => info.id === id);
	if (!found)
		throw new ApiError(
			404,
			"model_not_found",
			`The model "${id?.slice(0, 64)}" is not offered. GET /v1/models lists what is.`,
			{ param: "model" },
		);
	return c.json(describe(found, settingsOf(c.env).PUBLIC_MODELS));
}

/** OpenAI's model object, and everything we know of the model. */
function describe({ info, since }: { info: ModelInfo; since: number }, open: readonly string[]) {
	const sizes = Object.values(info.schedules).map(({ image }) => `${image.width}x${image.height}`);
	return {
		object: "model",
		created: Math.floor(since / 1000),
		owned_by: "firstlight",
		...info,
		sizes: [...new Set(sizes)],
		// Relative to where the page lies.
		...(open.includes(info.id) && { files: `v1/models/${info.id}/files` }),
	};
}

/** `models` has, for each policy, the schedules it can plan by model. */
export async function policyList(c: C): Promise<Response> {
	const { models } = await poolStatus(c.env);
	return c.json({
		object: "list",
		data: Object.values(policies).map(({ name, title }) => ({
			name,
			title,
			models: Object.fromEntries(
				models.map(({ info }) => [
					info.id,
					Object.keys(info.schedules).filter((schedule) => usable(info, name, schedule)),
				]),
			),
		})),
	});
}

export async function health(c: C): Promise<Response> {
	const { workers, models, queue } = await poolStatus(c.env);
	const ok = models.length > 0;
	return c.json(
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
			queue,
		},
		ok ? 200 : 503,
		{ "cache-control": "no-store" },
	);
}
