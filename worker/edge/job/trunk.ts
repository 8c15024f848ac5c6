/** A picture that goes on from the first scales of another one, whose job is still kept. */
import type { ScaleEvent, Trunk } from "../../protocol/job.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import { invalid } from "../http/errors.ts";
import type { Owner } from "../objects.ts";
import type { Env } from "../settings.ts";
import { jobGone, jobId } from "./follow.ts";

export interface Branch {
	scales: ScaleEvent[];
	madeUnder: string | null;
	/** Of a picture that has another seed from there on. */
	trunk?: Trunk;
}

/**
 * The first scales of a job, for a picture by this plan and seed. Throws a 404 for a job that is not kept, and a 400
 * for scales that the plan cannot take over.
 */
export async function branchOf(
	env: Env,
	{ from, scales }: { from: string; scales: number },
	plan: StagePlan,
	seed: number,
	owner: Owner = null,
): Promise<Branch> {
	const id = jobId(env, from);
	const found = id && (await env.JOB.get(id).trunk(owner, scales));
	if (!found) throw jobGone("from");
	const { request } = found;
	if (request.plan.model !== plan.model || request.plan.schedule !== plan.schedule)
		throw invalid("from", "from: is a picture of another model or schedule; ask for the same ones.");
	const last = plan.decide?.after ?? plan.steps.findLastIndex(({ kind }) => kind === "run");
	if (scales > last + 1)
		throw invalid(
			"scales",
			`scales: this plan takes over at most ${last + 1}: later ones hang on what it does itself.`,
		);
	if (found.scales.length < scales)
		throw invalid("scales", `scales: that picture has ${found.scales.length} so far; ask for no more.`);
	const steps = plan.steps.filter(({ kind }) => kind === "run").length;
	const shared = request.trunk && request.trunk.scales >= scales ? request.trunk.seed : request.seed;
	return {
		madeUnder: found.madeUnder,
		scales: found.scales.map((scale) => ({ ...scale, steps })),
		trunk: shared === seed ? undefined : { seed: shared, scales },
	};
}
