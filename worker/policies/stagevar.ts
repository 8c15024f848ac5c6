/**
 * StageVAR as it is written (arXiv 2512.16483): semantic and structure stages in full; every scale of the fidelity
 * stage text-free (the unconditional row alone) and, where the calibration has ratios, low-rank with restoration, chunk
 * by chunk. `stagevar-released` is how the authors' code runs it on Infinity.
 */
import { z } from "zod";
import type { Reduction, Step } from "../protocol/plan.ts";
import { ByScale, type Observed, ofLateScales, rounded, Share, unknownScales } from "./measurements/measurement.ts";
import { definePolicy, type Setting } from "./policy.ts";

export type RankRatio = Record<string, number[]>;

/** Rank of a chunk's output that holds most of its energy, as a share of a late scale's tokens, by chunk. */
export const rankRatio: Observed<RankRatio> = {
	schema: ByScale(z.array(Share)),
	problems: (ratios, { info: { chunks }, scales }) => [
		...unknownScales(ratios, scales),
		...Object.entries(ratios).flatMap(([scale, { length }]) =>
			length === chunks.length
				? []
				: [`scale ${scale} has ${length} ratios, and needs ${chunks.length}, one per chunk`],
		),
	],
	measure: (seen) =>
		seen.means.slice(seen.fidelityFrom).every(({ ranks }) => ranks.length > 0)
			? ofLateScales(seen, ({ ranks }) => ranks.map(rounded))
			: {},
};

export const stagevar = definePolicy(
	{
		name: "stagevar",
		title: "StageVAR: late scales text-free and low-rank",
		paper: "arXiv 2512.16483",
		needs: { rankRatio },
	},
	(setting, { rankRatio }) => ({ steps: textFree(setting, rankRatio) }),
);

/** Full scales, then those of the fidelity stage text-free, with few tokens where there are ratios. */
export function textFree(setting: Setting, ratios: RankRatio): Step[] {
	const { grids, fidelityFrom, full } = setting;
	return grids.map((_, scale): Step => {
		if (scale < fidelityFrom) return full(scale);
		return { ...full(scale), rows: "uncond", guidance: 0, reduce: reductions(setting, scale, ratios[scale]) };
	});
}

/** One per chunk. The first scale has nothing to restore from and is never reduced. */
function reductions({ info, grids }: Setting, scale: number, ratios: readonly number[] | undefined): Reduction[] {
	if (scale === 0 || !ratios) return [];
	const tokens = grids[scale][0] * grids[scale][1];
	const { rope, mostTokens } = info.lowRank ?? { rope: "first", mostTokens: tokens };
	return info.chunks.slice(0, ratios.length).map(([from, to], chunk) => ({
		blocks: [from, to],
		each: "span",
		count: Math.min(tokens, Math.floor(ratios[chunk] * Math.min(tokens, mostTokens)) + 1),
		take: { project: "gaussian" },
		rope,
		write: "norm-sampled",
		rest: { from: scale - 1, resize: "area", of: "output" },
	}));
}
