/**
 * FastVAR (arXiv 2503.23367): in the middle blocks of the late scales every attention and feed-forward runs on the
 * tokens farthest from the mean one; the others get what the same sublayer changed at the last full scale. The last
 * scales are left out.
 */
import type { Step } from "../protocol/plan.ts";
import { skipFrom } from "./measurements/skip-from.ts";
import { definePolicy } from "./policy.ts";

/**
 * Share of the tokens dropped at the first late scale, and at those after it; share of the blocks before the pruned
 * ones, and at their end.
 */
const DROPPED = [0.4, 0.5] as const;
const BLOCKS = [3 / 32, 28 / 32] as const;

export const fastvar = definePolicy(
	{
		name: "fastvar",
		title: "FastVAR: late scales on their pivotal tokens, the rest from the cache of an earlier scale",
		paper: "arXiv 2503.23367",
		needs: { skipFrom },
	},
	({ info, grids, fidelityFrom, full }, measured) => {
		const skipFrom = Math.max(measured.skipFrom, fidelityFrom + 1);
		const blocks = BLOCKS.map((share) => Math.round(share * info.blocks)) as [number, number];
		const steps = grids.map(([height, width], scale): Step => {
			if (scale >= skipFrom) return { kind: "skip" };
			if (scale < fidelityFrom || blocks[0] === blocks[1]) return full(scale);
			const tokens = height * width;
			const count = tokens - Math.floor(tokens * DROPPED[Math.min(scale - fidelityFrom, DROPPED.length - 1)]);
			return {
				...full(scale),
				reduce: [
					{
						blocks,
						each: "sublayer",
						count,
						take: { gather: "mean-distance" },
						rope: "kept",
						write: "kept",
						rest: { from: fidelityFrom - 1, resize: "area", of: "change" },
					},
				],
			};
		});
		return { steps };
	},
);
