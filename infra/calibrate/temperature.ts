/** The temperature of the scales before the fidelity stage at which pictures show most of what was asked. */
import type { StagePlan } from "../../worker/protocol/plan.ts";

/** Of the model's own. */
const SHARES = [1, 2 / 3, 1 / 2, 1 / 3];

/** The plan at each temperature, the model's own first. */
export function temperedPlans(plan: StagePlan, tau: number, fidelityFrom: number): { tau: number; plan: StagePlan }[] {
	return SHARES.map((share) => {
		const cooler = Number((share * tau).toPrecision(3));
		return {
			tau: cooler,
			plan: {
				...plan,
				steps: plan.steps.map((step, scale) =>
					step.kind === "run" && scale < fidelityFrom ? { ...step, tau: cooler } : step,
				),
			},
		};
	});
}

/** The hottest of those that were right most often. `right`: by picture, then by temperature. */
export function bestTau(taus: readonly number[], right: readonly (readonly boolean[])[]): number {
	const counts = taus.map((_, i) => right.filter((picture) => picture[i]).length);
	return taus[counts.indexOf(Math.max(...counts))];
}
