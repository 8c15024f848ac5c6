/** Workers' credentials: POST /internal/workers/token; and who may be one: /v1/admin/workers. */
import type { Context } from "hono";
import { z } from "zod";
import { MAX_REQUEST_BYTES } from "../../protocol/limits.ts";
import { Registration } from "../../protocol/messages.ts";
import { requireSecret } from "../auth/secret.ts";
import { signModelToken, signWorkerToken } from "../auth/worker-token.ts";
import { readJson } from "../http/body.ts";
import { ApiError, invalid, invalidInput } from "../http/errors.ts";
import { log } from "../log.ts";
import { poolNamed } from "../objects.ts";
import { answersOf, statusOfAll } from "../pool/router.ts";
import { type App, settingsOf } from "../settings.ts";

type C = Context<App>;

/**
 * Every pool knows who is revoked, since a worker may come to any, and looks once more when it comes: those that answer
 * will do.
 */
const revokedWorkers = async ({ env }: C): Promise<string[]> => [
	...new Set((await answersOf(env, (pool) => pool.revokedWorkers())).flat()),
];

export async function register(c: C): Promise<Response> {
	await requireSecret(c.env, c.req.raw);
	const { BODY_SECONDS, WORKER_TOKEN_SECONDS } = settingsOf(c.env);
	const parsed = Registration.safeParse(await readJson(c.req.raw, MAX_REQUEST_BYTES, BODY_SECONDS), {
		reportInput: true,
	});
	if (!parsed.success) throw invalidInput(parsed.error);
	const { worker, models } = parsed.data;
	if ((await revokedWorkers(c)).includes(worker))
		throw new ApiError(
			403,
			"worker_revoked",
			`The worker ${worker} was revoked. Whoever runs this edge can admit it.`,
			{
				type: "authentication_error",
			},
		);
	const tokens = await Promise.all(models.map(async (model) => [model, await signModelToken(c.env, model)] as const));
	return c.json(
		{
			token: await signWorkerToken(c.env, worker),
			expires: Math.floor(Date.now() / 1000 + WORKER_TOKEN_SECONDS),
			models: Object.fromEntries(tokens),
		},
		200,
		{ "cache-control": "no-store" },
	);
}

export const WorkerList = z.strictObject({
	object: z.literal("list"),
	data: z.array(
		z.strictObject({
			worker: z.string(),
			state: z.enum(["connected", "draining", "revoked"]),
			adapter: z.string().optional(),
			busy: z.int().optional(),
			slots: z.int().optional(),
		}),
	),
});

export async function listWorkers(c: C): Promise<Response> {
	const [{ workers }, revoked] = await Promise.all([statusOfAll(c.env), revokedWorkers(c)]);
	return c.json<z.infer<typeof WorkerList>>({
		object: "list",
		data: [
			...workers.map(({ worker, adapter, busy, slots, draining }) => ({
				worker,
				state: draining ? ("draining" as const) : ("connected" as const),
				adapter: adapter.name,
				busy,
				slots,
			})),
			...revoked.map((worker) => ({ worker, state: "revoked" as const })),
		],
	});
}

export const revokeWorker = (c: C): Promise<Response> => judge(c, true);
/** One that was revoked may come again. */
export const admitWorker = (c: C): Promise<Response> => judge(c, false);

async function judge(c: C, revoked: boolean): Promise<Response> {
	const worker = c.req.param("worker") ?? "";
	if (!Registration.shape.worker.safeParse(worker).success)
		throw invalid("worker", "worker: is no worker's name; GET /v1/admin/workers lists them.");
	await Promise.all(settingsOf(c.env).POOLS.map(({ name }) => poolNamed(c.env, name).judge(worker, revoked)));
	log(revoked ? "worker revoked" : "worker admitted again", { request: c.var.requestId, worker });
	return new Response(null, { status: 204 });
}
