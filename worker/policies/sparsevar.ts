/**
 * After SparseVAR (arXiv 2507.20454): every block of the late scales runs on the tokens that differ most from their
 * surroundings, chosen anew for each. Where the paper updates the others from a few uniform anchors, they get what the
 * block changed at the last full scale.
 */
import { calibrationOf, fullStep, type Policy, scheduleOf, stageOf } from "./policy.ts";

export const sparsevar: Policy = {
	name: "sparsevar",
	title: "SparseVAR: late scales on high-frequency tokens, block by block",
	plan(info, request) {
		const {
			name,
			schedule: { grids },
		} = scheduleOf(info, request);
		const calibration = calibrationOf(info, name, "sparsevar");
		const { fidelityFrom, detailRatio } = calibration;
		return {
			version: 1,
			policy: "sparsevar",
			model: info.digest,
			schedule: name,
			steps: grids.map(([height, width], scale) => {
				const step = fullStep(info, stageOf(scale, calibration), scale, grids.length);
				const ratio = detailRatio[scale];
				if (scale < fidelityFrom || ratio === undefined) return step;
				const count = Math.ceil(ratio * height * width);
				return {
					...step,
					reduce: [
						{
							blocks: [0, info.blocks],
							each: "block",
							count,
							take: { gather: "high-frequency" },
							rope: "kept",
							write: "kept",
							rest: { from: fidelityFrom - 1, resize: "area", of: "change" },
						},
					],
				};
			}),
		};
	},
};
