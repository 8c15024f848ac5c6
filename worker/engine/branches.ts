import { commonSteps } from "../policies/common-steps.ts";
import type { Schedule } from "../protocol/model-info.ts";
import type { StagePlan } from "../protocol/plan.ts";
import { walk } from "./generate.ts";
import type { Family, JobOptions } from "./round/model.ts";
import type { Snapshot } from "./round/snapshot.ts";
import type { Rounds } from "./rounds.ts";
import type { RgbImage } from "./types.ts";

export interface Branch {
	/** As it was settled. */
	plan: StagePlan;
	/** Packed, of every executed scale. */
	codes: Uint8Array[];
	image: RgbImage;
}

/**
 * One picture a plan, of the same prompt and seed, bit for bit as each plan makes it alone. The first plan runs whole;
 * the others go on from where they leave it, so that what they share is computed once. Throws the signal's reason
 * between scales.
 */
export async function growBranches<Job>(
	family: Family<Job>,
	rounds: Rounds<Job>,
	plans: readonly StagePlan[],
	grids: Schedule["grids"],
	options: Omit<JobOptions, "plan" | "branches">,
	signal: AbortSignal,
): Promise<Branch[]> {
	const [trunk, ...others] = plans;
	const left = new AbortController();
	const stop = AbortSignal.any([signal, left.signal]);
	const branches: Promise<Branch>[] = [];
	const snapshots: Snapshot[] = [];
	await rounds.enter();
	let job: Job | undefined;
	try {
		signal.throwIfAborted();
		job = family.open({ ...options, plan: trunk, branches: others });
		const codes: Uint8Array[] = [];
		const last = trunk.steps.findLastIndex(({ kind }) => kind === "run");
		for (let scale = 0; scale <= last; scale++) {
			const leaving = plans.flatMap((plan, i) => (shared(trunk, plan) === scale + 1 ? [i] : []));
			const finished = leaving.filter((i) => plans[i].steps[scale + 1]?.kind !== "run");
			const result = await rounds.run(
				{ job, scale, sample: true, pictures: finished.length > 0 ? [grids.length - 1] : [] },
				stop,
			);
			codes.push(result.codes as Uint8Array);
			for (const i of finished)
				branches[i] = Promise.resolve({ plan: plans[i], codes: [...codes], image: result.pictures[0] });
			const going = leaving.filter((i) => !finished.includes(i));
			if (going.length === 0) continue;
			const snapshot = family.snapshot(job, scale + 1);
			snapshots.push(snapshot);
			for (const i of going) {
				branches[i] = goOn(
					family,
					rounds,
					{ ...options, plan: plans[i], grids, previews: "none", after: snapshot, signal: stop },
					[...codes],
				);
				branches[i].catch(() => {});
			}
		}
		for (const [i, plan] of plans.entries())
			branches[i] ??= goOn(family, rounds, { ...options, plan, grids, previews: "none", signal: stop }, []);
		family.close(job);
		job = undefined;
		rounds.leave();
		return await Promise.all(branches);
	} catch (error) {
		left.abort();
		throw error;
	} finally {
		if (job !== undefined) {
			family.close(job);
			rounds.leave();
		}
		await Promise.allSettled(branches);
		for (const snapshot of snapshots) family.forget(snapshot);
	}
}

/** Steps of the trunk that a plan takes part in. */
function shared(trunk: StagePlan, plan: StagePlan): number {
	const common = commonSteps(trunk, plan);
	// Skipped steps are trailing: nothing is left to share after the last one that runs.
	const executed = trunk.steps.filter(({ kind }) => kind === "run").length;
	return Math.min(common, executed);
}

async function goOn<Job>(
	family: Family<Job>,
	rounds: Rounds<Job>,
	generation: Parameters<typeof walk<Job>>[2],
	codes: Uint8Array[],
): Promise<Branch> {
	let { plan } = generation;
	for await (const result of walk(family, rounds, generation)) {
		if (result.kind === "final") return { plan, codes, image: result.image };
		if (result.kind === "scale") codes.push(result.codes);
		else plan = result.plan;
	}
	throw new Error(`Plan ${plan.policy} ended without a picture.`);
}
