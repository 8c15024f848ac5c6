/**
 * SkipVAR (arXiv 2506.08908): what a picture needs is settled by how much detail it has once its structure is there.
 * Pictures with little leave out the last scales and guidance before them, the middle ones guidance alone; those with
 * most run in full.
 */
import { z } from "zod";
import type { Step } from "../protocol/plan.ts";
import { type Observed, rounded } from "./measurements/measurement.ts";
import { skipFrom } from "./measurements/skip-from.ts";
import { conditional, definePolicy, PlanError, type Setting } from "./policy.ts";

/**
 * High-frequency shares of the latent before the fidelity stage that a third, and two thirds, of the pictures stay
 * below.
 */
const detail: Observed<[number, number]> = {
	schema: z.tuple([z.number().min(0), z.number().min(0)]),
	measure({ pictures, fidelityFrom }) {
		const shares = pictures
			.map((scales) => scales[Math.max(0, fidelityFrom - 1)].highFrequency)
			.toSorted((a, b) => a - b);
		const quantile = (share: number) => rounded(shares[Math.floor(share * shares.length)]);
		return [quantile(1 / 3), quantile(2 / 3)];
	},
};

export const skipvar = definePolicy(
	{
		name: "skipvar",
		title: "SkipVAR: the rest of the plan settled by each picture's own detail",
		paper: "arXiv 2506.08908",
		needs: { skipFrom, detail },
	},
	(setting, { skipFrom, detail }) => {
		const { schedule, grids, fidelityFrom, full } = setting;
		if (fidelityFrom < 1 || fidelityFrom >= grids.length) {
			throw new PlanError(
				"Policy skipvar has nothing to decide: by its calibration, " +
					`the fidelity stage of schedule "${schedule}" begins at scale ${fidelityFrom} of ${grids.length}. ` +
					"Use policy exact.",
			);
		}
		const steps = grids.map((_, scale) => full(scale));
		const cases = [
			{ below: detail[0], steps: lateSteps(setting, skipFrom) },
			{ below: detail[1], steps: lateSteps(setting, grids.length) },
		];
		return {
			steps,
			decide: {
				after: fidelityFrom - 1,
				measure: "high-frequency",
				cases: detail[0] < detail[1] ? cases : cases.slice(1),
			},
		};
	},
);

/**
 * The fidelity stage with the conditional row in place of both (the paper's unconditional branch replacement), its
 * scales from `skipFrom` on left out. One late scale runs whatever was decided.
 */
export function lateSteps({ grids, fidelityFrom, full }: Setting, skipFrom: number): Step[] {
	const end = Math.max(skipFrom, fidelityFrom + 1);
	return grids.map((_, scale): Step => (scale < end ? conditional(full(scale)) : { kind: "skip" })).slice(fidelityFrom);
}
