/** From what a route was asked to a job that can be queued: one way for all of them. */
import { costOf } from "../../policies/cost.ts";
import { policyOfQuality, type Quality } from "../../policies/quality.ts";
import type { Previews } from "../../protocol/job.ts";
import type { JobMode } from "../../protocol/jobs.ts";
import type { ModelInfo } from "../../protocol/model-info.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import { invalid } from "../http/errors.ts";
import { requireOneWay, requireSubject, subjectOf } from "../http/input.ts";
import { type KnownPrompt, knownPrompt } from "../http/prompt.ts";
import { randomSeed } from "../http/seeds.ts";
import { type Size, sized } from "../http/sizes.ts";
import type { Warnings } from "../http/warnings.ts";
import type { WebhookTarget } from "../objects.ts";
import type { Env } from "../settings.ts";
import { chooseModel, givenPlan, type JobInput, makePlan } from "../start.ts";
import { branchOf } from "./trunk.ts";

/** Quality of lossy previews and pictures where none was asked for. */
export const QUALITY = 90;

/** What a request says of the picture, parsed, in no route's own words. */
export interface Wish {
	prompt?: string;
	class?: number;
	model?: string;
	/** A random one when left out. */
	seed?: number;
	/** At most one of plan and policy; a quality is a wish that neither overrules. */
	policy?: string;
	plan?: unknown;
	quality?: Quality;
	/** At most one of the two; `auto` is none. */
	schedule?: string;
	size?: string;
	format: { type: "png" | "webp" | "jpeg"; quality: number };
	previews: Previews;
	/** The last scale to run. */
	until?: number;
	/** A job whose first `scales` scales the picture begins with: both or none. */
	from?: string;
	scales?: number;
}

/** How the job is to be kept and followed. */
export interface Keeping {
	mode?: JobMode;
	ttlSeconds?: number;
	webhook?: WebhookTarget;
	/** Where the request came in. */
	base?: string;
}

export interface Order {
	input: JobInput;
	known?: KnownPrompt;
	/** Of the finished picture. */
	size: Size;
}

/** Refuses what cannot be made: a request's own faults first, then a house that is full. Nothing is written. */
export async function orderOf(env: Env, wish: Wish, keeping: Keeping, warnings: Warnings): Promise<Order> {
	if ((wish.from === undefined) !== (wish.scales === undefined))
		throw invalid("scales", "from and scales go together: a job, and how many of its first scales to take over.");
	requireSubject(wish);
	requireOneWay(wish);
	const { model, requireRoom } = await chooseModel(env, wish.model, warnings);
	const subject = subjectOf(model, wish);
	const { seed = randomSeed(), from, scales, until, previews, size = "auto" } = wish;
	const { schedule, resized } = size === "auto" ? { schedule: wish.schedule } : sized(model, size, warnings);
	const plan = planOf(wish, model, schedule);
	const branch = from && scales ? await branchOf(env, { from, scales }, plan, seed) : undefined;
	if (until !== undefined) requireEnd(plan, until, scales);
	const known = subject.prompt === undefined ? undefined : await knownPrompt(env, model, subject.prompt);
	warnings.unknownWords(known?.unknownWords);
	requireRoom();
	return {
		input: {
			model,
			plan,
			subject,
			seed,
			previews,
			format: { ...wish.format, ...(resized && { size: resized }) },
			until,
			branch,
			unknownWords: known?.unknownWords,
			cost: costOf(model, plan, { from: scales, until }),
			...keeping,
		},
		known,
		size: resized ?? model.schedules[plan.schedule].image,
	};
}

function planOf({ plan, policy, quality }: Wish, model: ModelInfo, schedule: string | undefined): StagePlan {
	if (plan !== undefined) return givenPlan(model, plan, schedule);
	return makePlan(model, policy ?? policyOfQuality(quality ?? "high", model, schedule), schedule);
}

/** A sketch ends with a scale that surely runs: with no other would there be a picture. */
function requireEnd({ steps, decide }: StagePlan, until: number, takenOver = 1): void {
	if (until < takenOver - 1) throw invalid("until", "until: ends before the scales that are taken over.");
	const last = decide?.after ?? steps.findLastIndex(({ kind }) => kind === "run");
	if (steps[until]?.kind !== "run" || until > last)
		throw invalid("until", `until: this plan surely runs scales up to ${last}; end with one of those.`);
}
