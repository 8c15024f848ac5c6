/** For GPU workers only: the socket to the pool, how far one is that is not ready yet, and deliveries to a job. */
import type { Context } from "hono";
import { z } from "zod";
import { WorkerEvent } from "../../protocol/job.ts";
import { MAX_CODES_CHARS, MAX_IMAGE_BYTES } from "../../protocol/limits.ts";
import { Loading } from "../../protocol/messages.ts";
import { signingSecret } from "../auth/secret.ts";
import { bearer, verifyToken } from "../auth/token.ts";
import { workerOf } from "../auth/worker-token.ts";
import { readJson } from "../http/body.ts";
import { ApiError, invalid, invalidInput } from "../http/errors.ts";
import { bytesProblem } from "../job/checks.ts";
import { jobId } from "../job/follow.ts";
import { type PoolObject, poolNamed, WORKER_HEADERS } from "../objects.ts";
import { poolOfWorker } from "../pool/router.ts";
import { type App, type Env, settingsOf } from "../settings.ts";

type C = Context<App>;

/** Of a worker: what its pool follows from beside its name. One of an older release says nothing. */
const Dial = z.object({
	region: z.string().max(32).optional(),
	models: z.string().max(8192).optional(),
});

/** Base64 of the largest picture, and room for codes and the rest. */
const MAX_DELIVERY_BYTES = 4 * Math.ceil(MAX_IMAGE_BYTES / 3) + MAX_CODES_CHARS + 64 * 1024;

export async function connect(c: C): Promise<Response> {
	const { worker, until } = await workerOf(c.env, c.req.raw);
	if (c.req.header("upgrade")?.toLowerCase() !== "websocket") {
		throw new ApiError(426, "upgrade_required", "GPU workers connect here by WebSocket.", {
			headers: { upgrade: "websocket", connection: "upgrade" },
		});
	}
	const { region, models } = dialOf(c);
	const pool = poolFor(c.env, { worker, region, models: models ? models.split(",") : [] });
	const request = new Request(c.req.raw);
	request.headers.set(WORKER_HEADERS.name, worker);
	request.headers.set(WORKER_HEADERS.until, `${until}`);
	const { webSocket } = await pool.fetch(request);
	// The pool's own answer takes no headers of ours.
	return new Response(null, { status: 101, webSocket });
}

function dialOf(c: C): z.infer<typeof Dial> {
	const dial = Dial.safeParse(c.req.query(), { reportInput: true });
	if (!dial.success) throw invalidInput(dial.error);
	return dial.data;
}

function poolFor(env: Env, worker: Parameters<typeof poolOfWorker>[1]): DurableObjectStub<PoolObject> {
	const pool = poolOfWorker(env, worker);
	if (pool !== null) return poolNamed(env, pool);
	throw new ApiError(404, "no_pool", "No pool of this edge takes workers of these models; see its setting POOLS.");
}

const MAX_LOADING_BYTES = 1024;

export async function loading(c: C): Promise<Response> {
	const known = await workerOf(c.env, c.req.raw);
	const body = await readJson(c.req.raw, MAX_LOADING_BYTES, settingsOf(c.env).BODY_SECONDS);
	const parsed = Loading.safeParse(body, { reportInput: true });
	if (!parsed.success) throw invalidInput(parsed.error);
	const { worker, model } = parsed.data;
	if (worker !== known.worker) throw invalid("worker", `worker: the token is for ${known.worker}.`);
	// The one that it will dial, as far as its models are known by now: that one forgets it then.
	await poolFor(c.env, { worker, region: dialOf(c).region, models: [model] }).loading(parsed.data);
	return new Response(null, { status: 204 });
}

export async function deliver(c: C): Promise<Response> {
	const job = c.req.param("job") ?? "";
	// The token first: without one nothing is read and no object wakes.
	const attempt = await verifyToken(signingSecret(c.env), job, bearer(c.req.raw));
	const id = jobId(c.env, job);
	if (attempt === null || id === null) {
		throw new ApiError(
			401,
			"invalid_token",
			"The token was not signed for this job. Use the token of its newest lease.",
			{ type: "authentication_error" },
		);
	}
	const body = await readJson(c.req.raw, MAX_DELIVERY_BYTES, settingsOf(c.env).BODY_SECONDS);
	const parsed = WorkerEvent.safeParse(body, { reportInput: true });
	if (!parsed.success) throw invalidInput(parsed.error);
	const problem = await bytesProblem(parsed.data);
	if (problem) throw badEvent(problem);
	const answer = await c.env.JOB.get(id).deliver(attempt, parsed.data);
	if ("refused" in answer) throw badEvent(answer.refused);
	return c.json(answer);
}

function badEvent(problem: string): ApiError {
	return new ApiError(400, "bad_event", `The event does not fit the job: ${problem}.`);
}
