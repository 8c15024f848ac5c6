/** Jobs as a resource: POST /v1/jobs, GET and DELETE /v1/jobs/:job. To others than its owner a job is unknown. */
import type { Context } from "hono";
import type { JobList, JobResource } from "../../protocol/jobs.ts";
import { MAX_REQUEST_BYTES } from "../../protocol/limits.ts";
import { baseOf } from "../auth/picture-url.ts";
import { readJson } from "../http/body.ts";
import { invalid } from "../http/errors.ts";
import { type Deed, once } from "../http/once.ts";
import { siblingSeed } from "../http/seeds.ts";
import { Warnings } from "../http/warnings.ts";
import { resourceOf } from "../job/facts.ts";
import { jobGone, jobId } from "../job/follow.ts";
import { hintsOf, type Order, orderOf, ownedBy } from "../job/order.ts";
import { log } from "../log.ts";
import { poolNamed, type Standing } from "../objects.ts";
import { type App, type Env, settingsOf } from "../settings.ts";
import { startJobs } from "../start.ts";
import { JobBody, keepingOf, parsed, wished } from "./jobs-body.ts";

type C = Context<App>;

export async function createJobs(c: C): Promise<Response> {
	const settings = settingsOf(c.env);
	const json = await readJson(c.req.raw, MAX_REQUEST_BYTES, settings.BODY_SECONDS);
	const body = parsed(JobBody, json);
	const { prompt, class: label, model, n, seed, schedule, size, from, scales } = body;
	if (schedule !== undefined && size !== undefined)
		throw invalid("size", "size: stands in place of a schedule; give one of them.");
	const keeping = { ...keepingOf(body, originOf(c), settings), ...ownedBy(c, body.cache) };
	const hints = hintsOf(c.req.raw);
	const wish = { prompt, class: label, model, seed, schedule, size, from, scales, hints, ...wished(body) };
	const ordered = async (warnings: Warnings) => {
		const order = await orderOf(c.env, wish, keeping, warnings);
		return { order, seeds: Array.from({ length: n }, (_, i) => siblingSeed(order.input.seed, i)) };
	};
	return once(c, json, jobsOf(c, "n", ordered));
}

/** Jobs that are queued, and what is said of them beside. */
interface Queued {
	jobs: string[];
	headers: Record<string, string>;
}

/** Queues the order for every seed, all or none, and shows the jobs. `param`: the field that says how many. */
export function jobsOf(
	c: C,
	param: string,
	ordered: (warnings: Warnings) => Promise<{ order: Order; seeds: readonly number[] }>,
): Deed<Queued> {
	return {
		async act() {
			const warnings = new Warnings(settingsOf(c.env));
			const { order, seeds } = await ordered(warnings);
			const jobs = await startJobs(c.env, order.input, seeds, param);
			return { jobs: jobs.map(({ id }) => id), headers: { ...order.headers, ...warnings.headers() } };
		},
		async tell({ jobs, headers }) {
			const data = await Promise.all(jobs.map((id) => resource(c, id)));
			const location = `${baseOf(c.env, originOf(c))}/v1/jobs/${jobs[0]}`;
			const json: JobList = { object: "list", data: data.filter((one) => one !== null) };
			return { status: 201, json, headers: { location, ...headers } };
		},
	};
}

export async function job(c: C): Promise<Response> {
	const shown = await resource(c, c.req.param("job") ?? "");
	if (!shown) throw jobGone("job");
	return c.json(shown, 200, { "cache-control": "no-store" });
}

/** Ends a job that nobody wants any more; one that has ended is deleted, prompt and pictures. */
export async function removeJob(c: C): Promise<Response> {
	const id = jobId(c.env, c.req.param("job") ?? "");
	if (!id || !(await c.env.JOB.get(id).remove(c.var.caller.owner))) throw jobGone("job");
	return new Response(null, { status: 204 });
}

/** Null where there is none, or none any more. */
async function resource(c: C, job: string): Promise<JobResource | null> {
	const { env } = c;
	const id = jobId(env, job);
	const facts = id && (await env.JOB.get(id).facts(c.var.caller.owner));
	if (!facts) return null;
	const standing = facts.outcome === null ? await standingOf(env, facts.pool, job) : null;
	return resourceOf(env, originOf(c), facts, standing);
}

/** Null also where the pool does not answer: the job is there without it. */
async function standingOf(env: Env, pool: string, job: string): Promise<Standing | null> {
	try {
		return await poolNamed(env, pool).standing(job);
	} catch (error) {
		log("pool not reached", { pool, message: String(error) });
		return null;
	}
}

export const originOf = (c: C): string => new URL(c.req.url).origin;
