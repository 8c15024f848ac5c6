/**
 * Our own, training-free, from measurements of the model alone (`firstlight calibrate`):
 * 1. The scales that settle what is where run in full, at the temperature that shows most of what was asked: what a
 *    late scale loses, an early one can win for nothing. From `guidanceTo` on the conditional row runs alone: the
 *    released text-free step keeps the unconditional one, at the same cost, but a model that still reads its text loses
 *    what was asked for. What guidance there is to have without the other row, that of what cross attention reads, goes
 *    on (`textGuidance`).
 * 2. Where late scales change few tokens, they change those where there is something to see, so before them the picture
 *    is looked at: its preview, which is streamed anyway, says where. Each picture keeps as many tokens as hold most of
 *    its own detail: its ranks are its own.
 * 3. They are gathered once, before the first block, at their own rotary positions: no mixtures are written to
 *    unrelated places.
 * 4. The others are not restored but left out: the coarse-to-fine latent goes on as it is there, as where a whole scale
 *    is skipped. So nothing is invented, head and sampling shrink too, and the cache holds no stand-ins.
 */
import type { Decision, RunStep } from "../protocol/plan.ts";
import { earlyTau } from "./measurements/early-tau.ts";
import { guidanceTo } from "./measurements/guidance-to.ts";
import { look } from "./measurements/look.ts";
import { textGuidance } from "./measurements/text-guidance.ts";
import { conditional, definePolicy } from "./policy.ts";

export const stagevarAuto = definePolicy(
	{
		name: "stagevar-auto",
		title: "Late scales guided by the text alone, on few tokens where few change",
		needs: { guidanceTo, textGuidance, earlyTau, look },
	},
	({ info, grids, fidelityFrom, full }, { guidanceTo, textGuidance, earlyTau, look }) => {
		const steps = grids.map(([height, width], scale): RunStep => {
			const tempered = scale < fidelityFrom ? { ...full(scale), tau: earlyTau } : full(scale);
			const step = scale < guidanceTo ? tempered : conditional(tempered, textGuidance);
			if (scale < look.from) return step;
			return {
				...step,
				reduce: [
					{
						blocks: [0, info.blocks],
						each: "span",
						count: height * width,
						take: { gather: { picture: look.after } },
						rope: "kept",
						write: "kept",
						rest: "skip",
					},
				],
			};
		});
		const decide: Decision = { after: look.after, measure: "picture", hold: look.hold };
		return { steps, ...(look.from < grids.length ? { decide } : {}) };
	},
);
