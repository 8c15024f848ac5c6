import { z } from "zod";
import type { Tried } from "./measurement.ts";

/** Of the model's own temperature. */
const SHARES = [1, 2 / 3, 1 / 2, 1 / 3];

/**
 * Temperature of the scales before the fidelity stage at which pictures show most of what was asked, by a judge; else
 * the model's own.
 */
export const earlyTau: Tried<number> = {
	schema: z.number().min(0.01).max(100),
	trial: {
		by: "judge",
		plans: (exact, { sampling: { tau } }, { fidelityFrom }) =>
			SHARES.map((share) => {
				const cooler = Number((share * tau).toPrecision(3));
				const steps = exact.steps.map((step, scale) =>
					step.kind === "run" && scale < fidelityFrom ? { ...step, tau: cooler } : step,
				);
				return { value: cooler, plan: { ...exact, steps } };
			}),
		/** The hottest of those that were right most often. */
		best: (taus, right) => taus[right.indexOf(Math.max(...right))],
		untried: ({ sampling }) => sampling.tau,
	},
};
