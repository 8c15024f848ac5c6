/** What a picture costs beside others of its model, before it is made: enough to tell how long a queue takes. */
import type { ModelInfo } from "../protocol/model-info.ts";
import type { Reduction, StagePlan, Step } from "../protocol/plan.ts";
import { findPolicy } from "./index.ts";

/** Scales that are computed: from `from` on (others are replayed, for next to nothing), to `until`, both counted. */
export interface Extent {
	from?: number;
	until?: number;
}

/**
 * In tokens of one guidance row, all blocks. A whole picture by a policy whose speed was measured is what exact costs
 * over its speedup; anything else is counted: tokens kept, rows, scales that run.
 */
export function costOf(info: ModelInfo, plan: StagePlan, { from = 0, until = Infinity }: Extent = {}): number {
	const speedup = info.trades?.[plan.policy]?.speedup;
	const whole = from === 0 && until >= plan.steps.length - 1;
	if (whole && speedup !== undefined && findPolicy(plan.policy)) {
		const { grids } = info.schedules[plan.schedule];
		return (2 * sum(grids.map(([height, width]) => height * width))) / speedup;
	}
	return sum(stepCosts(info, plan).slice(from, until + 1));
}

/** The same of each step, as counted. */
export function stepCosts(info: ModelInfo, plan: StagePlan): number[] {
	const { grids } = info.schedules[plan.schedule];
	return plan.steps.map((step, scale) => {
		const tokens = grids[scale][0] * grids[scale][1];
		return tokens * rowsOf(step) * shareOf(step, tokens, info.blocks);
	});
}

const rowsOf = (step: Step): number => (step.kind === "skip" ? 0 : step.rows === "both" ? 2 : 1);

/** Of the tokens' blocks, those that run. */
function shareOf(step: Step, tokens: number, blocks: number): number {
	if (step.kind === "skip") return 0;
	const saved = ({ blocks: [from, to], count }: Reduction) =>
		((to - from) / blocks) * (1 - Math.min(1, count / tokens));
	return Math.max(0, 1 - sum(step.reduce.map(saved)));
}

const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);
