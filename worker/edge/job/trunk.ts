/** A picture that goes on from the first scales of another one, whose job is still kept. */
import type { ScaleEvent, Trunk } from "../../protocol/job.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import { trunkOf } from "../../protocol/trunk.ts";
import { invalid } from "../http/errors.ts";
import type { KeptTrunk, Owner } from "../objects.ts";
import type { Env } from "../settings.ts";
import { jobGone, jobId } from "./follow.ts";

export interface Branch {
	scales: ScaleEvent[];
	madeUnder: string | null;
	/** Whose they are. */
	first: Trunk;
}

/** What there is of a job for another to begin with: its first scales, as many as that. Throws a 404. */
export async function keptTrunk(
	env: Env,
	owner: Owner,
	{ job, scales, param }: { job: string; scales: number; param: string },
): Promise<KeptTrunk> {
	const id = jobId(env, job);
	const found = id && (await env.JOB.get(id).trunk(owner, scales));
	if (!found) throw jobGone(param);
	return found;
}

/**
 * The first scales of a job, for a picture by this plan; `most`: as many as there are, and the plan can take over
 * before it ends. Throws a 404 for a job that is not kept, and a 400 for scales that the plan cannot take over.
 */
export async function branchOf(
	env: Env,
	{ from, scales, until = Infinity }: { from: string; scales: number | "most"; until?: number },
	plan: StagePlan,
	owner: Owner,
): Promise<Branch> {
	const last = plan.decide?.after ?? plan.steps.findLastIndex(({ kind }) => kind === "run");
	const count = scales === "most" ? Math.max(1, Math.min(last + 1, until)) : scales;
	const {
		request,
		madeUnder,
		scales: made,
	} = await keptTrunk(env, owner, {
		job: from,
		scales: count,
		param: "from",
	});
	if (request.plan.model !== plan.model || request.plan.schedule !== plan.schedule)
		throw invalid("from", "from: is a picture of another model or schedule; ask for the same ones.");
	if (count > last + 1)
		throw invalid(
			"scales",
			`scales: this plan takes over at most ${last + 1}: later ones hang on what it does itself.`,
		);
	if (made.length < (scales === "most" ? 1 : count))
		throw invalid("scales", `scales: that picture has ${made.length} so far; ask for no more, or later.`);
	const steps = plan.steps.filter(({ kind }) => kind === "run").length;
	return {
		madeUnder,
		scales: made.map((scale) => ({ ...scale, steps })),
		first: trunkOf(request, made.length),
	};
}
