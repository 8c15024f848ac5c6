/** Requests and times that nobody measured: Poisson arrivals, and scales whose times follow from their cost. */
import { costOf, stepCosts } from "../../../worker/policies/cost.ts";
import { exact } from "../../../worker/policies/exact.ts";
import type { ModelInfo } from "../../../worker/protocol/model-info.ts";
import { arrivals, steady } from "../arrivals.ts";
import type { Random } from "../random.ts";
import type { Asked, Service } from "./simulate.ts";

/** So many requests a second for so many seconds, by these policies in turn. */
export function poisson(rate: number, seconds: number, policies: readonly string[], seed: number): Asked[] {
	const times = arrivals(steady(rate, seconds), { process: "poisson" }, seed);
	return Array.from(times, (at, i) => ({ at, policy: policies[i % policies.length] }));
}

/**
 * A picture by `exact` takes `exactMs` on average, any other as much less as it costs less (as the edge reckons);
 * its scales share that by theirs. `spread`: deviation of a worker's speed and of a picture's time, as a share.
 */
export function modelled(model: ModelInfo, exactMs: number, spread: number): Service {
	const whole = costOf(model, exact.plan(model, {}));
	return (random) => {
		const speed = Math.max(0.2, 1 + spread * normal(random));
		return {
			way: () => 0,
			steps: (plan) => {
				const factor = speed * Math.max(0.2, 1 + spread * normal(random));
				// Little goes with each scale that runs, however small.
				const shares = stepCosts(model, plan).map((cost) => (cost === 0 ? 0 : cost + whole / 200));
				const all = shares.reduce((sum, share) => sum + share, 0);
				const milliseconds = factor * exactMs * (costOf(model, plan) / whole);
				return shares.map((share) => (milliseconds * share) / all);
			},
		};
	};
}

/** Standard normal (Box and Muller 1958). */
function normal(random: Random): number {
	return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
