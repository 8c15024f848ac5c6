/**
 * DiverseAR (arXiv 2512.02931): models that choose among few values, bits above all, are too sure of them, and seeds of
 * one prompt look alike. Until fidelity begins, each scale's temperature is raised until its likeliest values are only
 * so likely: few tokens, little cost.
 */
import { calibrationOf, fullStep, type Policy, scheduleOf, stageOf } from "./policy.ts";

/** Mean probability of the likeliest value at the first scale and at the last one that is made diverse. */
const CONFIDENCE = [0.6, 0.8] as const;
const HOTTEST = 8;

export const diverse: Policy = {
	name: "diverse",
	title: "DiverseAR: early scales sampled at the temperature that leaves them room",
	plan(info, request) {
		const {
			name,
			schedule: { grids },
		} = scheduleOf(info, request);
		const calibration = calibrationOf(info, name, "diverse");
		const last = Math.max(1, calibration.fidelityFrom - 1);
		return {
			version: 1,
			policy: "diverse",
			model: info.digest,
			schedule: name,
			steps: grids.map((_, scale) => {
				const step = fullStep(info, stageOf(scale, calibration), scale, grids.length);
				if (scale >= calibration.fidelityFrom) return step;
				const confidence = CONFIDENCE[0] + (CONFIDENCE[1] - CONFIDENCE[0]) * (scale / last);
				return { ...step, tau: { confidence, between: [info.sampling.tau, Math.max(HOTTEST, info.sampling.tau)] } };
			}),
		};
	},
};
