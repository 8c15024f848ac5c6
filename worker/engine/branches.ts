import { commonSteps } from "../policies/common-steps.ts";
import type { Schedule } from "../protocol/model-info.ts";
import { outcomesOf, type StagePlan } from "../protocol/plan.ts";
import { type Generation, walk } from "./generate.ts";
import { COND, lastScaleOf, UNCOND } from "./round/kv-plan.ts";
import type { PictureOptions } from "./round/picture.ts";
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
export async function growBranches(
	rounds: Rounds,
	plans: readonly StagePlan[],
	grids: Schedule["grids"],
	options: Omit<PictureOptions, "plan" | "branches">,
	signal: AbortSignal,
): Promise<Branch[]> {
	const { model } = rounds;
	const [trunk, ...others] = plans;
	const left = new AbortController();
	const stop = AbortSignal.any([signal, left.signal]);
	const branches: Promise<Branch>[] = [];
	const goOn = (i: number, after?: Snapshot, codes: readonly Uint8Array[] = []) => {
		branches[i] = grow(rounds, { ...options, plan: plans[i], grids, previews: "none", after, signal: stop }, codes);
		branches[i].catch(() => {});
	};
	using snapshots = new DisposableStack();
	try {
		const picture = await rounds.open({ ...options, plan: trunk, branches: others }, stop);
		try {
			const codes: Uint8Array[] = [];
			const taken = plans.map((plan) => shared(trunk, plan));
			for (let scale = 0; scale < Math.max(...taken); scale++) {
				const leaving = [...plans.keys()].filter((i) => taken[i] === scale + 1);
				const finished = leaving.filter((i) => plans[i].steps[scale + 1]?.kind !== "run");
				const pictures = finished.length > 0 ? [grids.length - 1] : [];
				const outcome = await rounds.run({ picture, scale, sample: true, pictures }, stop);
				codes.push(outcome.codes as Uint8Array);
				for (const i of finished)
					branches[i] = Promise.resolve({ plan: plans[i], codes: [...codes], image: outcome.pictures[0] });
				const going = leaving.filter((i) => !finished.includes(i));
				if (going.length === 0) continue;
				const snapshot = snapshots.use(await model.snapshot(picture, scale + 1));
				for (const i of going) goOn(i, snapshot, [...codes]);
			}
			for (const i of plans.keys()) if (!branches[i]) goOn(i);
		} finally {
			rounds.close(picture);
		}
		return await Promise.all(branches);
	} catch (error) {
		left.abort();
		throw error;
	} finally {
		await Promise.allSettled(branches);
	}
}

/** Steps of the trunk that a plan takes part in. */
function shared(trunk: StagePlan, plan: StagePlan): number {
	// Skipped steps are trailing: nothing is left to share after the last one that runs.
	const executed = trunk.steps.filter(({ kind }) => kind === "run").length;
	const common = Math.min(commonSteps(trunk, plan), executed);
	// The trunk stores no keys of its own last scale of a row, and gives those before it back there.
	const rows = [COND, UNCOND].filter((row) => outcomesOf(plan).some((outcome) => lastScaleOf(outcome, row) >= common));
	return Math.max(0, Math.min(common, ...rows.map((row) => lastScaleOf(trunk, row))));
}

/** What is left of a picture, after the scales whose `codes` there are. */
async function grow(rounds: Rounds, generation: Generation, codes: readonly Uint8Array[]): Promise<Branch> {
	let { plan } = generation;
	const all = [...codes];
	for await (const result of walk(rounds, generation)) {
		if (result.kind === "final") return { plan, codes: all, image: result.image };
		if (result.kind === "scale") all.push(result.codes);
		else plan = result.plan;
	}
	throw new Error(`Plan ${plan.policy} ended without a picture.`);
}
