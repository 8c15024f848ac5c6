/** How much it holds: the highest rate at which almost every request is good. */
import { steady } from "./arrivals.ts";
import type { Model } from "./run.ts";

/** What a run at some rate came to. */
export interface Attained {
	/** Share of requests that were good. */
	attainment: number;
	/** Why it should not be believed; null where it can be. */
	doubt: string | null;
}
export interface Probe extends Attained {
	rate: number;
	holds: boolean;
}
export interface Capacity {
	/** Requests a second; 0 where not even the lowest held. */
	rate: number;
	/** It ended before it knew: it holds as much as `rate`, or more. */
	interrupted: boolean;
	probes: Probe[];
}

export interface Search {
	/** Share of requests that must be good. */
	share: number;
	/** Where it begins, in requests a second. */
	from: number;
	most: number;
	/** The answer lies within such a share of the truth. */
	precision: number;
}

/**
 * Doubles until it holds no more, then halves the interval. `attained` makes a run at a rate; null ends the search with
 * what is known until then.
 */
export async function findCapacity(
	{ share, from, most, precision }: Search,
	attained: (rate: number) => Promise<Attained | null>,
): Promise<Capacity> {
	const probes: Probe[] = [];
	let interrupted = false;
	const holds = async (rate: number) => {
		const probe = await attained(rate);
		if (probe === null) {
			interrupted = true;
			return false;
		}
		const holds = probe.attainment >= share;
		probes.push({ rate, ...probe, holds });
		return holds;
	};
	let [low, high] = [0, from];
	while (high <= most && (await holds(high))) [low, high] = [high, high * 2];
	if (high > most) return { rate: low, interrupted: false, probes };
	while (!interrupted && high - low > precision * high && high > from / 64) {
		const middle = low === 0 ? high / 2 : (low + high) / 2;
		if (await holds(middle)) low = middle;
		else high = middle;
	}
	return { rate: low, interrupted, probes };
}

/** The same load at another, steady rate. */
export const atRate = (model: Model, rate: number, seconds: number): Model => ({
	kind: "open",
	arrival: model.kind === "open" ? model.arrival : { process: "poisson" },
	maxInFlight: model.kind === "open" ? model.maxInFlight : 1024,
	profile: steady(rate, seconds),
});
