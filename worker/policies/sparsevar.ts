/**
 * After SparseVAR (arXiv 2507.20454): every block of the late scales runs on the tokens that differ most from their
 * surroundings, chosen anew for each. Where the paper updates the others from a few uniform anchors, they get what the
 * block changed at the last full scale.
 */
import type { Step } from "../protocol/plan.ts";
import { ByScale, type Observed, ofLateScales, rounded, Share, unknownScales } from "./measurements/measurement.ts";
import { definePolicy } from "./policy.ts";

/** Tokens that hold most of the squared distance from their surroundings, as shares of a late scale's. */
const detailRatio: Observed<Record<string, number>> = {
	schema: ByScale(Share),
	problems: (ratios, { scales }) => unknownScales(ratios, scales),
	measure: (seen) => ofLateScales(seen, ({ detail }) => rounded(detail)),
};

export const sparsevar = definePolicy(
	{
		name: "sparsevar",
		title: "SparseVAR: late scales on high-frequency tokens, block by block",
		paper: "arXiv 2507.20454",
		needs: { detailRatio },
	},
	({ info, grids, fidelityFrom, full }, { detailRatio }) => {
		const steps = grids.map(([height, width], scale): Step => {
			const ratio = detailRatio[scale];
			if (scale < fidelityFrom || ratio === undefined) return full(scale);
			return {
				...full(scale),
				reduce: [
					{
						blocks: [0, info.blocks],
						each: "block",
						count: Math.ceil(ratio * height * width),
						take: { gather: "high-frequency" },
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
