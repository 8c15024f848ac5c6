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
import { requireAllowed } from "./admission/moderation.ts";
import { picturesUsedUp, tooManyAtOnce } from "./admission/refusals.ts";
import type { Caller } from "./auth/caller.ts";
import { ApiError, invalid, unavailable } from "./http/errors.ts";
import type { Subject } from "./http/input.ts";
import type { Warnings } from "./http/warnings.ts";
import { findPicture } from "./job/found.ts";
import { type Branch, trunkFor } from "./job/trunk.ts";
import { notReached } from "./log.ts";
import {
	type Customer,
	type Enqueued,
	type NewJob,
	type Outlook,
	type Owner,
	type PoolOffer,
	type PoolStatus,
	poolNamed,
	type Version,
	type WebhookTarget,
} from "./objects.ts";
import { drawVersion } from "./pool/offer.ts";
import { given, offerOf, poolsFor, statusOfAll } from "./pool/router.ts";
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
	unavailable("queue_full", "Too many pictures are waiting already. Try again in a few seconds.", seconds);

/** Where nothing was measured, and at most: by then other workers may have come. */
const RETRY_SECONDS = { otherwise: 10, most: 60 };

/** When a place in a full queue comes free: as soon as one that waits is begun, by the pace of its workers. */
function retryAfter({ waiting, waitMs }: Outlook): number {
	if (waitMs === null) return RETRY_SECONDS.otherwise;
	return Math.min(RETRY_SECONDS.most, Math.max(1, Math.ceil(waitMs / Math.max(1, waiting) / 1000)));
}

export function poolStatus(env: Env): Promise<PoolStatus> {
	return statusOfAll(env);
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
	 * Refuses where the queue is full. Called when all else was found right, since coming again helps nobody whose
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
	const offer = await offerOf(env, (offer) => offer.room && findModel(offer, env, name) !== undefined);
	if (offer.models.length === 0) throw noWorkers();
	const { QUEUE_LIMIT, MODEL_WEIGHTS } = settingsOf(env);
	const chosen = (version: Version & Outlook): Chosen => ({
		model: version.info,
		numerics: version.numerics,
		load: { ...version, filled: offer.queue / QUEUE_LIMIT },
		retrySeconds: retryAfter(version),
		requireRoom() {
			if (!offer.room) throw queueFull(retryAfter(version));
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

/** Whether the job has its picture from one that was made before. What goes wrong there is no reason not to make it. */
async function found(
	env: Env,
	id: DurableObjectId,
	job: NewJob,
	owner: Owner,
	numerics: readonly string[],
): Promise<boolean> {
	try {
		const before = await findPicture(env, owner, job.request, numerics);
		return before !== null && (await env.JOB.get(id).copy(job, before));
	} catch (error) {
		notReached(id.toString(), error);
		return false;
	}
}

/**
 * A job for every seed, all of them or none: one that cannot be created or queued leaves nothing behind. A pool that
 * does not take them passes them on to the next best.
 */
export async function startJobs(env: Env, input: Omit<JobInput, "seed">, seeds: readonly number[]): Promise<Started[]> {
	let refused: Exclude<Enqueued, "queued"> = "no-worker";
	for (const pool of await poolsFor(env, input.model.digest, input.continent)) {
		const started = await startIn(env, pool, input, seeds);
		if (typeof started !== "string") {
			await given(env, pool, started.filter(({ cached }) => !cached).length);
			return started;
		}
		refused = started;
		if (refused === "busy") break;
	}
	const seconds = input.retrySeconds ?? RETRY_SECONDS.otherwise;
	if (refused === "busy") throw tooManyAtOnce(input.caller.admitted?.limits.concurrent ?? 0, 1000 * seconds);
	if (refused === "full") throw queueFull(seconds);
	throw refused === "unable" ? unable() : noWorkers();
}

/** The jobs, or why the pool does not take them. */
async function startIn(
	env: Env,
	pool: string,
	input: Omit<JobInput, "seed">,
	seeds: readonly number[],
): Promise<Started[] | Exclude<Enqueued, "queued">> {
	const { model, plan, subject, previews, format, until, branch, unknownWords, cost, reason } = input;
	const { caller, mode, ttlSeconds, webhook, base, findable, again } = input;
	const { owner, traceparent, requestId } = caller;
	if (caller.admitted && seeds.length > caller.admitted.pictures) throw picturesUsedUp(caller.admitted);
	await requireAllowed(env, subject.prompt);
	const { grids, image } = model.schedules[plan.schedule];
	const { width, height } = format.size ?? image;
	const jobs = seeds.map((seed) => ({ seed, id: env.JOB.newUniqueId() }));
	const created = await Promise.allSettled(
		jobs.map(async ({ seed, id }): Promise<Started> => {
			const job: NewJob = {
				request: {
					model: model.id,
					...subject,
					seed,
					plan,
					previews,
					format,
					until,
					trunk: branch && trunkFor(branch, seed),
				},
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
			const cached = findable === true && again !== undefined && (await found(env, id, job, owner, again));
			if (!cached) await env.JOB.get(id).create(job);
			return { id: id.toString(), cached };
		}),
	);
	const discard = () => Promise.allSettled(jobs.map(({ id }) => env.JOB.get(id).discard()));
	try {
		const started = created.map((one) => {
			if (one.status === "rejected") throw one.reason;
			return one.value;
		});
		const ids = started.flatMap(({ id, cached }) => (cached ? [] : id));
		if (ids.length === 0) return started;
		const needs = needsOf({ plan, format, until, trunk: branch && trunkFor(branch, seeds[0]) });
		const answer = await poolNamed(env, pool).enqueue(ids, model.digest, { cost, needs, by: customerOf(caller) });
		if (answer === "queued") {
			caller.queued += ids.length;
			return started;
		}
		await discard();
		return answer;
	} catch (error) {
		await discard();
		throw error;
	}
}

const customerOf = ({ owner, admitted }: Caller): Customer | undefined =>
	admitted ? { owner, weight: admitted.limits.weight, concurrent: admitted.limits.concurrent } : undefined;
