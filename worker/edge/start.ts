/** From what was asked for to queued jobs: choose the model, let the policy plan, create, queue. */
import type { Load } from "../policies/choose.ts";
import { customPlan } from "../policies/custom.ts";
import { findPolicy, PlanError, policies } from "../policies/index.ts";
import { checkPlan } from "../policies/validate.ts";
import { needsOf } from "../protocol/capabilities.ts";
import type { ImageFormat, Previews } from "../protocol/job.ts";
import type { JobMode } from "../protocol/jobs.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import type { StagePlan } from "../protocol/plan.ts";
import { trunkFor } from "../protocol/trunk.ts";
import { charge, giveBack } from "./admission/charge.ts";
import { requireAllowed } from "./admission/moderation.ts";
import type { Caller } from "./auth/caller.ts";
import { ApiError, invalid, unavailable } from "./http/errors.ts";
import type { Subject } from "./http/input.ts";
import type { Warnings } from "./http/warnings.ts";
import { wholeSize } from "./job/checks.ts";
import { findPicture } from "./job/found.ts";
import { deadlineSeconds } from "./job/record.ts";
import type { Branch } from "./job/trunk.ts";
import { notReached } from "./log.ts";
import {
	type Customer,
	type Enqueued,
	type NewJob,
	type Offered,
	type Outlook,
	type PoolOffer,
	poolNamed,
	type WebhookTarget,
} from "./objects.ts";
import { drawVersion } from "./pool/offer.ts";
import { given, offerOf, poolsFor } from "./pool/router.ts";
import { type Env, settingsOf } from "./settings.ts";

export interface JobInput {
	/** Who asks: the jobs are theirs. */
	caller: Caller;
	model: ModelInfo;
	plan: StagePlan;
	subject: Subject;
	seed: number;
	previews: Previews;
	format: ImageFormat;
	/** The last scale to run; all of the plan's when absent. */
	until?: number;
	/** What the picture goes on from. */
	branch?: Branch;
	/** Where the reader is, as Cloudflare names continents. */
	continent?: string;
	/** Words of the prompt that the model does not know, where the edge can tell. */
	unknownWords?: string[];
	/** Why this plan (worker/policies/choose.ts). */
	reason?: string;
	/** What it costs to make (worker/policies/cost.ts). */
	cost?: number;
	/** When a caller for whom there is no room may come again. */
	retrySeconds?: number;
	mode?: JobMode;
	ttlSeconds?: number;
	webhook?: WebhookTarget;
	base?: string;
	/** Whether the owner may find the finished picture again. */
	findable?: boolean;
	/** Numerics under which the owner's finished picture is as good as a new one. Absent: it is made anew. */
	again?: readonly string[];
}

/** Models of OpenAI's that clients send by default: here they are the default model. */
const OPENAI_MODEL = /^(gpt-image|chatgpt-image|dall-e)-/;

const noWorkers = () =>
	unavailable(
		"no_workers",
		"No GPU worker is connected at the moment. Try again in a few seconds; /healthz tells when one is there.",
		5,
	);
const unable = () =>
	unavailable(
		"no_workers",
		"The GPU workers that are connected cannot make such a picture yet. Try again later, or with another policy.",
		60,
	);
const queueFull = (seconds: number) =>
	unavailable("queue_full", "There is no room for more pictures at the moment. Try again in a few seconds.", seconds);

const tooMany = (param: string, most: number) =>
	invalid(param, `${param}: must be at most ${most}: more is never taken at once here. Ask for fewer at a time.`);

/** Where nothing was measured, and at most: by then other workers may have come. */
const RETRY_SECONDS = { otherwise: 10, most: 60 };

/** When there is room: as soon as the next one is done, and one that waits is begun, by its workers' pace. */
function retryAfter({ waiting, slots, waitMs, nextMs }: Offered): number {
	if (waitMs === null) return RETRY_SECONDS.otherwise;
	const milliseconds = nextMs ?? waitMs / Math.max(1, waiting || slots);
	return Math.min(RETRY_SECONDS.most, Math.max(1, Math.ceil(milliseconds / 1000)));
}

/** The model of this name or alias, out of those offered; the first for none, "auto", and a model of OpenAI's. */
export function findModel({ models }: PoolOffer, env: Env, name = "auto"): PoolOffer["models"][number] | undefined {
	const named = (wanted: string | undefined) => models.find(({ info }) => info.id === wanted);
	const { MODEL_ALIASES, STRICT } = settingsOf(env);
	if (name === "auto") return models[0];
	return named(name) ?? named(MODEL_ALIASES.get(name)) ?? (OPENAI_MODEL.test(name) && !STRICT ? models[0] : undefined);
}

export function modelNotFound({ models }: PoolOffer, name: string): ApiError {
	const offered = models.map(({ info }) => info.id).join(", ") || "none";
	return new ApiError(
		404,
		"model_not_found",
		`The model "${name.slice(0, 64)}" is not offered. Offered now: ${offered}.`,
		{ param: "model" },
	);
}

export interface Chosen {
	model: ModelInfo;
	/** Under which it may be made now. */
	numerics: readonly string[];
	load: Omit<Load, "exactMs"> & Pick<Outlook, "pace">;
	/** When a caller for whom there is no room may come again. */
	retrySeconds: number;
	/**
	 * Refuses where there is no room. Called when all else was found right, since coming again helps nobody whose
	 * request is wrong, and before anything is written; the pool itself has the last word.
	 */
	requireRoom(): void;
}

/** The model to draw with: by name, or the very version of a digest. Refuses where there is none. */
export async function chooseModel(
	env: Env,
	{ name, digest }: { name?: string; digest?: string },
	warnings: Warnings,
): Promise<Chosen> {
	const offer = await offerOf(env, (offer) => roomIn(findModel(offer, env, name)));
	if (offer.models.length === 0) throw noWorkers();
	const { MODEL_WEIGHTS } = settingsOf(env);
	const chosen = (version: Offered): Chosen => ({
		model: version.info,
		numerics: version.numerics,
		load: { ...version, filled: filledOf(version) },
		retrySeconds: retryAfter(version),
		requireRoom() {
			if (!version.room) throw queueFull(retryAfter(version));
		},
	});
	if (digest !== undefined) {
		const version = offer.models.flatMap(({ versions }) => versions).find(({ info }) => info.digest === digest);
		if (!version)
			throw new ApiError(
				404,
				"model_not_found",
				"The version of the model that made this job is not offered any more. Ask for a new picture.",
				{ param: "job" },
			);
		return chosen(version);
	}
	const found = findModel(offer, env, name);
	if (!found) throw modelNotFound(offer, name ?? "auto");
	const { id } = found.info;
	if (name !== undefined && name !== "auto" && name !== id) warnings.say(`model: ${name} stands for ${id} here`);
	return chosen(drawVersion(found.versions, MODEL_WEIGHTS, Math.random()));
}

/** How much is taken of the places to wait; where nobody may wait, of the slots. */
const filledOf = ({ queued, places, free, slots }: Offered): number =>
	places > 0 ? queued / places : Math.max(0, 1 - free / Math.max(1, slots));

const roomIn = (model: PoolOffer["models"][number] | undefined): boolean =>
	model?.versions.some(({ room }) => room) ?? false;

/** The plan of a policy for a model; a request it cannot plan is a 400 in the policy's own words. */
export function makePlan(model: ModelInfo, policy: string, schedule: string | undefined): StagePlan {
	const found = findPolicy(policy);
	if (!found) throw invalid("policy", `There is no policy "${policy}". Policies: ${Object.keys(policies).join(", ")}.`);
	if (schedule !== undefined && !Object.hasOwn(model.schedules, schedule)) {
		throw invalid(
			"schedule",
			`Model ${model.id} has no schedule "${schedule}". It has: ${Object.keys(model.schedules).join(", ")}.`,
		);
	}
	try {
		const plan = found.plan(model, { schedule });
		checkPlan(plan, model);
		return plan;
	} catch (error) {
		if (error instanceof PlanError) throw invalid("policy", error.message);
		throw error;
	}
}

/** The plan that a request brings itself; one the model cannot run is a 400 that lists every problem. */
export function givenPlan(model: ModelInfo, plan: unknown, schedule: string | undefined): StagePlan {
	try {
		return customPlan(plan, model, schedule);
	} catch (error) {
		if (error instanceof PlanError) throw invalid("plan", error.message, "invalid_plan");
		throw error;
	}
}

/** The plan for another version of its model, as it was planned: by its policy, or given; null where there is none. */
export function plannedAnew(model: ModelInfo, plan: StagePlan): StagePlan | null {
	try {
		return findPolicy(plan.policy)
			? makePlan(model, plan.policy, plan.schedule)
			: givenPlan(model, { ...plan, model: model.digest }, plan.schedule);
	} catch (error) {
		if (error instanceof ApiError) return null;
		throw error;
	}
}

/** Creates the job and queues it. Its id is the address of its log. */
export async function startJob(env: Env, input: JobInput): Promise<string> {
	return (await startJobs(env, input, [input.seed]))[0].id;
}

export interface Started {
	id: string;
	/** Whether the picture was there already. */
	cached: boolean;
}

/** Its id, where the job has its picture from one that was made before. What goes wrong there is no reason to fail. */
async function found(
	env: Env,
	{ id, job }: Planned,
	{ findable, again }: Omit<JobInput, "seed">,
): Promise<DurableObjectId | null> {
	if (!findable || again === undefined) return null;
	try {
		const before = await findPicture(env, job.owner, job.request, again);
		return before !== null && (await env.JOB.get(id).copy(job, before)) ? id : null;
	} catch (error) {
		notReached(id.toString(), error);
		// It may have begun, and would be in the way of the picture that is made now.
		await Promise.allSettled([env.JOB.get(id).discard()]);
		return null;
	}
}

interface Planned {
	seed: number;
	id: DurableObjectId;
	job: NewJob;
}

/**
 * A job for every seed, all of them or none: one that cannot be created or queued leaves nothing behind, and what is
 * queued was counted before. A pool that does not take them passes them on to the next best. `param`: the field of the
 * request that says how many.
 */
export async function startJobs(
	env: Env,
	input: Omit<JobInput, "seed">,
	seeds: readonly number[],
	param = "n",
): Promise<Started[]> {
	const { caller, model, continent, subject, retrySeconds = RETRY_SECONDS.otherwise } = input;
	await requireAllowed(env, subject.prompt);
	const pools = await poolsFor(env, model.digest, continent);
	if (pools.length === 0) throw noWorkers();
	const all = seeds.map((seed) => ({ seed, id: env.JOB.newUniqueId(), job: jobOf(input, seed, pools[0]) }));
	const cached = new Set((await Promise.all(all.map((one) => found(env, one, input)))).flatMap((one) => one ?? []));
	const fresh = all.filter(({ id }) => !cached.has(id));
	const ids = fresh.map(({ id }) => id.toString());
	try {
		const until = Date.now() + (deadlineSeconds(input, settingsOf(env)) + SLACK_SECONDS) * 1000;
		await charge(env, caller, ids, { until, retrySeconds });
		if (fresh.length > 0) await queue(env, pools, input, fresh, param);
	} catch (error) {
		await Promise.allSettled(all.map(({ id }) => env.JOB.get(id).discard()));
		await giveBack(env, caller, ids);
		throw error;
	}
	return all.map(({ id }) => ({ id: id.toString(), cached: cached.has(id) }));
}

/** By then a job has ended, though its own alarm was late. */
const SLACK_SECONDS = 60;

/** Into the first pool that takes them. Throws where none does. */
async function queue(
	env: Env,
	pools: readonly string[],
	{ model, cost, caller, retrySeconds = RETRY_SECONDS.otherwise }: Omit<JobInput, "seed">,
	jobs: readonly Planned[],
	param: string,
): Promise<void> {
	const refusals: Exclude<Enqueued, "queued">[] = [];
	// Of several, one may have the seed of the scales that all begin with.
	const needs = [...new Set(jobs.flatMap(({ job }) => needsOf(job.request)))].sort();
	const ids = jobs.map(({ id }) => id.toString());
	for (const pool of pools) {
		if (pool !== pools[0]) await Promise.all(jobs.map(({ id }) => env.JOB.get(id).discard()));
		const created = await Promise.allSettled(jobs.map(({ id, job }) => env.JOB.get(id).create({ ...job, pool })));
		for (const one of created) if (one.status === "rejected") throw one.reason;
		const by = customerOf(caller);
		const answer = await poolNamed(env, pool).enqueue(ids, model.digest, { cost, needs, by });
		if (answer === "queued") return given(env, pool, ids.length);
		refusals.push(answer);
	}
	// One that is full may take them later, whatever the others say.
	if (refusals.includes("full")) throw queueFull(retrySeconds);
	const most = Math.max(...refusals.map((refused) => (typeof refused === "object" ? refused.most : 0)));
	if (most > 0) throw tooMany(param, most);
	throw refusals.includes("unable") ? unable() : noWorkers();
}

function jobOf(input: Omit<JobInput, "seed">, seed: number, pool: string): NewJob {
	const { model, plan, subject, previews, format, until, branch, unknownWords, reason } = input;
	const { caller, mode, ttlSeconds, webhook, base, findable } = input;
	const { owner, traceparent, requestId } = caller;
	const { grids } = model.schedules[plan.schedule];
	const trunk = branch && trunkFor(branch.first, seed);
	const request = { model: model.id, ...subject, seed, plan, previews, format, until, trunk };
	const { width, height } = wholeSize(model, request);
	return {
		request,
		trunk: branch && { madeUnder: branch.madeUnder, scales: branch.scales },
		pool,
		bitsPerToken: model.bitsPerToken,
		event: { model: model.id, policy: plan.policy, seed, width, height, plan, grids, unknownWords, reason },
		mode,
		ttlSeconds,
		webhook,
		base,
		owner,
		// What others began is not what was asked for.
		findable: findable && !branch,
		traceparent,
		requestId,
	};
}

const customerOf = ({ owner, admitted }: Caller): Customer | undefined =>
	admitted ? { owner, weight: admitted.limits.weight } : undefined;
