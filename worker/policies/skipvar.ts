/**
 * SkipVAR (arXiv 2506.08908): what a picture needs is settled by how much detail it has once its structure is there.
 * Pictures with little leave out the last scales and guidance before them, the middle ones guidance alone; those with
 * most run in full.
 */
import type { Step } from "../protocol/plan.ts";
import { calibrationOf, conditional, fullStep, PlanError, type Policy, scheduleOf, stageOf } from "./policy.ts";

export const skipvar: Policy = {
	name: "skipvar",
	title: "SkipVAR: the rest of the plan settled by each picture's own detail",
	plan(info, request) {
		const {
			name,
			schedule: { grids },
		} = scheduleOf(info, request);
		const calibration = calibrationOf(info, name, "skipvar");
		const { fidelityFrom, detail } = calibration;
		if (fidelityFrom < 1 || fidelityFrom >= grids.length) {
			throw new PlanError(
				`Policy skipvar has nothing to decide: by its calibration, the fidelity stage of schedule "${name}" begins at scale ${fidelityFrom} of ${grids.length}. Use policy exact.`,
			);
		}
		const steps = grids.map((_, scale) => fullStep(info, stageOf(scale, calibration), scale, grids.length));
		const late = steps.slice(fidelityFrom);
		// One late scale runs whatever was decided.
		const skipFrom = Math.max(calibration.skipFrom, fidelityFrom + 1);
		const little = late.map((step, i): Step => (fidelityFrom + i < skipFrom ? conditional(step) : { kind: "skip" }));
		const cases = [
			{ below: detail[0], steps: little },
			{ below: detail[1], steps: late.map((step) => conditional(step)) },
		];
		return {
			version: 1,
			policy: "skipvar",
			model: info.digest,
			schedule: name,
			steps,
			decide: {
				after: fidelityFrom - 1,
				measure: "high-frequency",
				cases: detail[0] < detail[1] ? cases : cases.slice(1),
			},
		};
	},
};
