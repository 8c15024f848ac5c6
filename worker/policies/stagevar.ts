/**
 * StageVAR (arXiv 2512.16483): semantic and structure stages in full; the fidelity stage text-free (the unconditional
 * row alone) and, where the calibration has ratios, low-rank with restoration, chunk by chunk.
 */
import type { ModelInfo } from "../protocol/model-info.ts";
import type { Reduction, StagePlan, Step } from "../protocol/plan.ts";
import { calibrationOf, fullStep, type PlanRequest, type Policy, scheduleOf, stageOf } from "./policy.ts";

export const stagevar: Policy = {
	name: "stagevar",
	title: "StageVAR: late scales text-free and low-rank",
	plan: (info, request) => stagevarPlan(info, request, "stagevar"),
};

export function stagevarPlan(info: ModelInfo, request: PlanRequest, policy: string): StagePlan {
	const { name, schedule } = scheduleOf(info, request);
	const calibration = calibrationOf(info, name, policy);
	const steps = schedule.grids.map(([height, width], scale): Step => {
		const step = fullStep(info, stageOf(scale, calibration), scale, schedule.grids.length);
		if (scale < calibration.fidelityFrom) return step;
		return {
			...step,
			rows: "uncond",
			guidance: 0,
			reduce: reductions(info, scale, height * width, calibration.rankRatio[scale]),
		};
	});
	return { version: 1, policy, model: info.digest, schedule: name, steps };
}

/** One per chunk. The first scale has nothing to restore from and is never reduced. */
function reductions(
	info: ModelInfo,
	scale: number,
	tokens: number,
	ratios: readonly number[] | undefined,
): Reduction[] {
	if (scale === 0 || !ratios) return [];
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
