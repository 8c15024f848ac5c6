/** From what was asked for to a queued job: choose the model, let the policy plan, create, queue. */
import { customPlan } from "../policies/custom.ts";
import { findPolicy, PlanError, policies } from "../policies/index.ts";
import { checkPlan } from "../policies/validate.ts";
import type { ImageFormat, Previews } from "../protocol/job.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import type { StagePlan } from "../protocol/plan.ts";
import { ApiError, invalid, unavailable } from "./errors.ts";
import type { Subject } from "./input.ts";
import { type PoolStatus, poolNamed, poolNameOf } from "./objects.ts";
import { drawVersion } from "./offer.ts";
import { type Env, settingsOf } from "./settings.ts";

export interface JobInput {
	model: ModelInfo;
	plan: StagePlan;
	subject: Subject;
	seed: number;
	previews: Previews;
	format: ImageFormat;
}

const noWorkers = () =>
	unavailable(
		"no_workers",
		"No GPU worker is connected at the moment. Try again in a few seconds; /healthz tells when one is there.",
		5,
	);
const queueFull = () =>
	unavailable("queue_full", "Too many pictures are waiting already. Try again in a few seconds.", 10);

export function poolStatus(env: Env): Promise<PoolStatus> {
	return poolNamed(env, poolNameOf()).status();
}

/** The model named, or the pool's first for none and "auto". */
export async function chooseModel(env: Env, name: string | undefined): Promise<ModelInfo> {
	const { models, room } = await poolNamed(env, poolNameOf()).offer();
	if (models.length === 0) throw noWorkers();
	const model = name === undefined || name === "auto" ? models[0] : models.find(({ info }) => info.id === name);
	if (!model) {
		const offered = models.map(({ info }) => info.id).join(", ");
		throw new ApiError(404, "model_not_found", `The model "${name}" is not offered. Offered now: ${offered}.`, {
			param: "model",
		});
	}
	// Refused before anything is written; the pool itself has the last word.
	if (!room) throw queueFull();
	return drawVersion(model.versions, settingsOf(env).MODEL_WEIGHTS, Math.random()).info;
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

/** Whether the policy can plan the model's default schedule. */
export function usable(model: ModelInfo, policy: string, schedule?: string): boolean {
	try {
		makePlan(model, policy, schedule);
		return true;
	} catch (error) {
		if (error instanceof ApiError) return false;
		throw error;
	}
}

/** Creates the job and queues it. Its id is the address of its log. */
export async function startJob(env: Env, { model, plan, subject, seed, previews, format }: JobInput): Promise<string> {
	const { grids, image } = model.schedules[plan.schedule];
	const pool = poolNameOf(model.id);
	const id = env.JOB.newUniqueId();
	const job = env.JOB.get(id);
	await job.create({
		request: { model: model.id, ...subject, seed, plan, previews, format },
		pool,
		bitsPerToken: model.bitsPerToken,
		event: { model: model.id, policy: plan.policy, seed, width: image.width, height: image.height, plan, grids },
	});
	const answer = await poolNamed(env, pool).enqueue([id.toString()], model.digest);
	if (answer !== "queued") {
		await job.discard();
		throw answer === "full" ? queueFull() : noWorkers();
	}
	return id.toString();
}
