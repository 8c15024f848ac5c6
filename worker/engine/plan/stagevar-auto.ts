/**
 * Our own, training-free, from measurements of the model alone (`firstlight calibrate`):
 * 1. Scales up to the one from which the conditional row by itself chooses as the guided pair does run in full, both rows.
 * 2. From there on the conditional row runs alone. The released text-free step keeps the unconditional one, at the same cost; but a model
 *    that still reads its text loses what was asked for, and loses little without guidance.
 * 3. Fidelity scales run on the tokens farthest from the scale's mean token, as many as hold most of the distance, chosen once before the
 *    first block. Each keeps its own place in the rotary table: no mixtures of tokens are written to unrelated positions.
 * 4. The other tokens are not restored from an earlier scale, but left out: a coarse-to-fine latent goes on as it is there, as it does
 *    where StageVAR skips a whole scale. So nothing is invented, head and sampling shrink too, and the cache holds no stand-ins.
 */
import { calibrationOf, conditional, fullStep, type Policy, scheduleOf, stageOf } from "./policy.ts";

export const stagevarAuto: Policy = {
	name: "stagevar-auto",
	title: "Late scales without guidance, on the tokens that still change",
	plan(info, request) {
		const { name, schedule: { grids } } = scheduleOf(info, request);
		const calibration = calibrationOf(info, name, "stagevar-auto");
		const { guidanceTo, fidelityFrom, pivotalRatio } = calibration;
		return {
			version: 1, policy: "stagevar-auto", model: info.digest, schedule: name,
			steps: grids.map(([height, width], scale) => {
				const full = fullStep(info, stageOf(scale, calibration), scale, grids.length);
				const step = scale < guidanceTo ? full : conditional(full);
				const ratio = pivotalRatio[scale];
				if (scale < fidelityFrom || ratio === undefined) return step;
				const count = Math.ceil(ratio * height * width);
				return { ...step, reduce: [{ blocks: [0, info.blocks], each: "span", count, take: { gather: "mean-distance" }, rope: "kept", write: "kept", rest: "skip" }] };
			}),
		};
	},
};
