/**
 * Every scale in full: what the published model computes. Stages are for show only; an uncalibrated schedule is cut in
 * thirds.
 */
import { fullStep, type Policy, scheduleOf, stageOf } from "./policy.ts";

export const exact: Policy = {
	name: "exact",
	title: "Every scale in full, as the model was published",
	plan(info, request) {
		const { name, schedule } = scheduleOf(info, request);
		const scales = schedule.grids.length;
		const thirds = { structureFrom: Math.round(scales / 3), fidelityFrom: Math.round((2 * scales) / 3) };
		const bounds = Object.hasOwn(info.calibration, name) ? info.calibration[name] : thirds;
		return {
			version: 1,
			policy: "exact",
			model: info.digest,
			schedule: name,
			steps: schedule.grids.map((_, scale) => fullStep(info, stageOf(scale, bounds), scale, scales)),
		};
	},
};
