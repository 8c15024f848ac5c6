/** Which policy stands for a wish such as "medium": what was measured of the model decides. */
import type { ModelInfo, Trade } from "../protocol/model-info.ts";
import { findPolicy } from "./index.ts";
import { canPlan } from "./validate.ts";

export type Quality = "high" | "medium" | "low";

/** How much of the score of `exact` each may cost. */
const LOSS: Readonly<Record<Exclude<Quality, "high">, number>> = { medium: 0.01, low: 0.05 };
/** Trades are kept to four digits: a loss of .01, as the difference of two scores, is not a hair more. */
const HAIR = 1e-9;

export interface Choice extends Pick<Trade, "delta" | "speedup"> {
	policy: string;
}
export const EXACT: Choice = { policy: "exact", delta: 0, speedup: 1 };

/**
 * The policy's name: for `high` exact; for `medium` the fastest that loses at most .01 of exact's score, for `low` at
 * most .05, and where none does, the one that loses least. Exact where nothing was measured that can plan the schedule
 * (left out: the model's default).
 */
export function policyOfQuality(quality: Quality, info: ModelInfo, schedule?: string): string {
	return choiceOfQuality(quality, info, schedule).policy;
}

/** The same with what it costs and gains. */
export function choiceOfQuality(quality: Quality, info: ModelInfo, schedule?: string): Choice {
	if (quality === "high") return EXACT;
	const choices = worthwhile(info, schedule);
	const near = choices.filter((choice) => losesAtMost(quality, choice));
	const [best = EXACT] =
		near.length > 0 ? near.toSorted((a, b) => b.speedup - a.speedup) : choices.toSorted((a, b) => b.delta - a.delta);
	return best;
}

/** Whether a choice is within what this quality may cost. */
export const losesAtMost = (quality: Exclude<Quality, "high">, { delta }: Choice): boolean =>
	delta >= -LOSS[quality] - HAIR;

/** Measured policies that can plan the schedule, without those that another one, exact included, beats. */
export function worthwhile(info: ModelInfo, schedule: string | undefined): Choice[] {
	const measured = Object.entries(info.trades ?? {}).flatMap(([name, { delta, speedup }]): Choice[] => {
		const policy = findPolicy(name);
		if (!policy || policy.name === EXACT.policy || !canPlan(policy, info, schedule)) return [];
		return [{ policy: policy.name, delta, speedup }];
	});
	return measured.filter((one) => ![EXACT, ...measured].some((other) => beats(other, one)));
}

/** At least as good and as fast, and better in one of the two. */
const beats = (a: Choice, b: Choice): boolean =>
	a.delta >= b.delta && a.speedup >= b.speedup && (a.delta > b.delta || a.speedup > b.speedup);
