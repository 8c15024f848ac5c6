/** From what a route was asked to a job that can be queued: one way for all of them. */
import type { Context } from "hono";
import { type Asked, choosePolicy } from "../../policies/choose.ts";
import { costOf } from "../../policies/cost.ts";
import type { Quality } from "../../policies/quality.ts";
import type { ImageFormat, Previews } from "../../protocol/job.ts";
import type { JobMode } from "../../protocol/jobs.ts";
import type { ModelInfo } from "../../protocol/model-info.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import type { Caller } from "../auth/caller.ts";
import { invalid } from "../http/errors.ts";
import { requireOneWay, requireSubject, subjectOf } from "../http/input.ts";
import { type KnownPrompt, knownPrompt } from "../http/prompt.ts";
import { continentOf } from "../http/request.ts";
import { randomSeed } from "../http/seeds.ts";
import { type Size, sized } from "../http/sizes.ts";
import type { Warnings } from "../http/warnings.ts";
import type { WebhookTarget } from "../objects.ts";
import type { App, Env } from "../settings.ts";
import { type Chosen, chooseModel, givenPlan, type JobInput, makePlan } from "../start.ts";
import { wholeSize } from "./checks.ts";
import { branchOf } from "./trunk.ts";

/** Quality of lossy previews and pictures where none was asked for. */
export const QUALITY = 90;

/** What a request says of the picture, parsed, in no route's own words. */
export interface Wish {
	prompt?: string;
	class?: number;
	model?: string;
	/** In place of a name: this very version. */
	digest?: string;
	/** A random one when left out. */
	seed?: number;
	/** At most one of plan and policy; a quality is a wish that neither overrules. */
	policy?: string;
	plan?: unknown;
	quality?: Quality;
	/** Milliseconds within which the picture is wanted. */
	maxMs?: number;
	/** Client hints of its request. */
	hints?: Pick<Asked, "saveData" | "ect">;
	/** At most one of the two; `auto` is none. */
	schedule?: string;
	size?: string;
	/** `size`: what a finished picture is resized to, where `size` above does not say it. */
	format: ImageFormat;
	previews: Previews;
	/** The last scale to run. */
	until?: number;
	/** A job whose first `scales` scales the picture begins with: both or none. */
	from?: string;
	scales?: number | "most";
}

/** How the job is to be kept and followed. */
export interface Keeping {
	mode?: JobMode;
	ttlSeconds?: number;
	webhook?: WebhookTarget;
	/** Where the request came in. */
	base?: string;
	/** Who asks: it is theirs. */
	caller: Caller;
	/** Where they are, as Cloudflare names continents. */
	continent?: string;
	/** Whether they may find the finished picture again. */
	findable?: boolean;
	/** Whether a finished picture of the same request is as good as a new one. */
	cache?: boolean;
}

/**
 * Whose the picture is, and where they are; whether it may be one that is there already: by a field, or the header of
 * HTTP.
 */
export function ownedBy({ req, var: { caller } }: Context<App>, cache: boolean): Keeping {
	const fresh = /\bno-(cache|store)\b/i.test(req.header("cache-control") ?? "");
	return { caller, continent: continentOf(req.raw), findable: true, cache: cache && !fresh };
}

export interface Order {
	input: JobInput;
	known?: KnownPrompt;
	/** Of the whole picture. */
	size: Size;
	/** For the answer: which policy, and why. */
	headers: { "firstlight-policy": string };
}

/** Headers that choose the policy where nothing in the request does; browsers send the second one when asked to. */
export const CLIENT_HINTS = "Save-Data, ECT";

export const hintsOf = ({ headers }: Request): Wish["hints"] => ({
	saveData: headers.get("save-data") ?? undefined,
	ect: headers.get("ect") ?? undefined,
});

/** Refuses what cannot be made: a request's own faults first, then a house that is full. Nothing is written. */
export async function orderOf(
	env: Env,
	wish: Wish,
	{ cache = false, ...keeping }: Keeping,
	warnings: Warnings,
): Promise<Order> {
	if ((wish.from === undefined) !== (wish.scales === undefined))
		throw invalid("scales", "from and scales go together: a job, and how many of its first scales to take over.");
	requireSubject(wish);
	requireOneWay(wish);
	const { model, numerics, load, retrySeconds, requireRoom } = await chooseModel(
		env,
		{ name: wish.model, digest: wish.digest },
		warnings,
	);
	const subject = subjectOf(model, wish);
	const { seed = randomSeed(), from, scales, until, previews, size = "auto" } = wish;
	const { schedule, resized } = size === "auto" ? { schedule: wish.schedule } : sized(model, size, warnings);
	const { plan, reason } = planOf(wish, model, schedule, load);
	const branch = from && scales ? await branchOf(env, { from, scales, until }, plan, keeping.caller.owner) : undefined;
	if (until !== undefined) requireEnd(plan, until, branch?.scales.length);
	const known = subject.prompt === undefined ? undefined : await knownPrompt(env, model, subject.prompt);
	warnings.unknownWords(known?.unknownWords);
	const format = { ...wish.format, ...(resized && { size: resized }) };
	// A random seed was never asked for before.
	const again = cache && wish.seed !== undefined && !branch ? numerics : undefined;
	if (!again) requireRoom();
	return {
		input: {
			model,
			plan,
			subject,
			seed,
			previews,
			format,
			until,
			branch,
			unknownWords: known?.unknownWords,
			reason,
			retrySeconds,
			cost: costOf(model, plan, { from: branch?.scales.length, until }),
			again,
			...keeping,
		},
		known,
		headers: { "firstlight-policy": `${plan.policy}; reason=${reason}` },
		size: wholeSize(model, { plan, format, until }),
	};
}

function planOf(
	{ plan, policy, quality, maxMs, hints, scales, until }: Wish,
	model: ModelInfo,
	schedule: string | undefined,
	{ pace, ...load }: Chosen["load"],
): { plan: StagePlan; reason: string } {
	if (plan !== undefined) return { plan: givenPlan(model, plan, schedule), reason: "request" };
	// Refuses an unknown schedule before anything is chosen by it.
	const exact = makePlan(model, "exact", schedule);
	const extent = { from: scales === "most" ? undefined : scales, until };
	const exactMs = pace === null ? null : pace * costOf(model, exact, extent);
	const chosen = choosePolicy(model, schedule, { policy, quality, maxMs, ...hints }, { ...load, exactMs });
	return { plan: makePlan(model, chosen.policy, schedule), reason: chosen.reason };
}

/** A sketch ends with a scale that surely runs: with no other would there be a picture. */
function requireEnd({ steps, decide }: StagePlan, until: number, takenOver = 0): void {
	// A sketch's last scale is always drawn: by another seed or plan it would not be the one that is taken over.
	if (until < takenOver)
		throw invalid("until", `until: scale ${until} is taken over already; take over fewer, or end with a later one.`);
	const last = decide?.after ?? steps.findLastIndex(({ kind }) => kind === "run");
	if (steps[until]?.kind !== "run" || until > last)
		throw invalid("until", `until: this plan surely runs scales up to ${last}; end with one of those.`);
}
