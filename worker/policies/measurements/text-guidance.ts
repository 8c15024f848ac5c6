import { z } from "zod";
import { conditional } from "../policy.ts";
import { guidanceTo } from "./guidance-to.ts";
import type { Tried } from "./measurement.ts";

/** 1 is none. */
const WEIGHTS = [1, 1.25, 1.5, 2];

/**
 * Text guidance (plan.ts) that replaces guidance best where that ends; absent where the model has none or it does not
 * help.
 */
export const textGuidance: Tried<number | undefined> = {
	schema: z.number().min(1).max(100).optional(),
	trial: {
		by: "difference",
		plans(exact, { guidesByText }, seen) {
			const from = guidanceTo.measure(seen);
			if (!guidesByText || from >= exact.steps.length) return [];
			return WEIGHTS.map((weight) => {
				const steps = exact.steps.map((step, scale) =>
					step.kind === "run" && scale >= from ? conditional(step, weight === 1 ? undefined : weight) : step,
				);
				return { value: weight, plan: { ...exact, steps } };
			});
		},
		/** The weight whose pictures differ least from the guided ones. */
		best(weights, differences) {
			const best = weights[differences.indexOf(Math.min(...differences))];
			return best === 1 ? undefined : best;
		},
		untried: () => undefined,
	},
};
