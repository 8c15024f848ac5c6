/**
 * SkipVAR's static form (arXiv 2506.08908 without its decision): both of its savings on every picture alike, where the
 * mean of the calibrated pictures bears them. The fidelity stage runs without guidance, and from where the mean picture
 * is as good as done, scales are left out. The paper decides for each picture, because pictures with much detail lose
 * by it: this is what there is to decide against.
 */
import { skipFrom } from "./measurements/skip-from.ts";
import { definePolicy } from "./policy.ts";
import { lateSteps } from "./skipvar.ts";

export const skipvarStatic = definePolicy(
	{
		name: "skipvar-static",
		title: "SkipVAR without a look: late scales without guidance, the last ones left out, for every picture",
		paper: "arXiv 2506.08908",
		needs: { skipFrom },
	},
	(setting, { skipFrom }) => {
		const early = setting.grids.slice(0, setting.fidelityFrom).map((_, scale) => setting.full(scale));
		return { steps: [...early, ...lateSteps(setting, skipFrom)] };
	},
);
