/**
 * Pictures that go on from a job's own first scales, with its model, words and schedule: POST /v1/jobs/:job/refine
 * finishes it by another plan, POST /v1/jobs/:job/branch makes siblings of other seeds.
 */
import type { Context } from "hono";
import { MAX_REQUEST_BYTES } from "../../protocol/limits.ts";
import { readJson } from "../http/body.ts";
import { once } from "../http/once.ts";
import { siblingSeed } from "../http/seeds.ts";
import type { Warnings } from "../http/warnings.ts";
import { hintsOf, orderOf, ownedBy, type Wish } from "../job/order.ts";
import { keptTrunk } from "../job/trunk.ts";
import { type App, settingsOf } from "../settings.ts";
import { jobsOf, originOf } from "./jobs.ts";
import { BranchBody, keepingOf, type Manner, parsed, RefineBody, wished } from "./jobs-body.ts";

type C = Context<App>;

export async function refine(c: C): Promise<Response> {
	const json = await bodyOf(c);
	const { scales = "most", ...manner } = parsed(RefineBody, json);
	return goOn(c, json, manner, scales, ({ seed }) => [seed]);
}

export async function branch(c: C): Promise<Response> {
	const json = await bodyOf(c);
	const { from, count, seed: first, ...manner } = parsed(BranchBody, json);
	return goOn(c, json, manner, from, ({ seed }) =>
		Array.from({ length: count }, (_, i) => (first === undefined ? siblingSeed(seed, i + 1) : siblingSeed(first, i))),
	);
}

async function goOn(
	c: C,
	json: unknown,
	manner: Manner,
	scales: number | "most",
	seedsOf: (job: { seed: number }) => number[],
): Promise<Response> {
	// What others began is never found again, nor given again.
	const keeping = { ...keepingOf(manner, originOf(c), settingsOf(c.env)), ...ownedBy(c, false) };
	const job = c.req.param("job") ?? "";
	const ordered = async (warnings: Warnings) => {
		const { request } = await keptTrunk(c.env, c.var.caller.owner, { job, scales: 0, param: "job" });
		const { format, ...how } = wished(manner);
		const wish: Wish = {
			prompt: request.prompt,
			class: request.label,
			digest: request.plan.model,
			schedule: request.plan.schedule,
			seed: request.seed,
			from: job,
			scales,
			hints: hintsOf(c.req.raw),
			format: { ...format, size: request.format.size },
			...how,
			// Whoever says nothing wants it finished well.
			quality: how.quality ?? ((how.policy ?? how.plan ?? how.maxMs) ? undefined : "high"),
		};
		return { order: await orderOf(c.env, wish, keeping, warnings), seeds: seedsOf(request) };
	};
	return once(c, json, jobsOf(c, "count", ordered));
}

/** None at all is an empty one. */
async function bodyOf(c: C): Promise<unknown> {
	if (c.req.raw.body === null || c.req.header("content-length") === "0") return {};
	return readJson(c.req.raw, MAX_REQUEST_BYTES, settingsOf(c.env).BODY_SECONDS);
}
