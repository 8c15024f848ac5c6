/**
 * StageVAR as its released code runs it: the last scales are left out altogether, the latent goes to the decoder as it
 * is.
 */
import { calibrationOf, type Policy } from "./policy.ts";
import { stagevarPlan } from "./stagevar.ts";

export const stagevarSkip: Policy = {
	name: "stagevar-skip",
	title: "StageVAR with the last scales left out",
	plan(info, request) {
		const plan = stagevarPlan(info, request, "stagevar-skip");
		const { skipFrom } = calibrationOf(info, plan.schedule, plan.policy);
		return { ...plan, steps: plan.steps.map((step, scale) => (scale < skipFrom ? step : { kind: "skip" })) };
	},
};
