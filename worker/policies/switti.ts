/**
 * Switti's rule (arXiv 2412.01819): guidance is off from a scale on, where it adds little but cost and can even hurt
 * fine detail; the conditional row runs alone, every scale in full. The paper's released example turns it off at the
 * last two of ten scales (24 and 32, to 512 pixels), and reports about 32 % faster sampling for its own model. Here the
 * scale is not counted from the end but measured, as the first from which on guidance changes the picture by less than
 * can be seen; and only this rule is taken, not the paper's model, which also attends without looking back.
 */
import { guidanceTo } from "./measurements/guidance-to.ts";
import { conditional, definePolicy } from "./policy.ts";

export const switti = definePolicy(
	{
		name: "switti",
		title: "Switti: guidance off from the scale on that no longer needs it",
		paper: "arXiv 2412.01819",
		needs: { guidanceTo },
	},
	({ grids, full }, { guidanceTo }) => ({
		steps: grids.map((_, scale) => (scale < guidanceTo ? full(scale) : conditional(full(scale)))),
	}),
);
