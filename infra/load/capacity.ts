/** How much it holds: the highest rate at which almost every request is good. */
import type { Plan, Run } from "./run.ts";

export interface Probe {
	rate: number;
	attainment: number;
	holds: boolean;
}
export interface Capacity {
	/** Requests a second; 0 where not even the lowest held. */
	rate: number;
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

/** Doubles until it holds no more, then halves the interval. `attained` makes a run at a rate and gives its share. */
export async function findCapacity(
	{ share, from, most, precision }: Search,
	attained: (rate: number) => Promise<number>,
): Promise<Capacity> {
	const probes: Probe[] = [];
	const holds = async (rate: number) => {
		const attainment = await attained(rate);
		probes.push({ rate, attainment, holds: attainment >= share });
		return attainment >= share;
	};
	let [low, high] = [0, from];
	while (high <= most && (await holds(high))) [low, high] = [high, high * 2];
	if (high > most) return { rate: low, probes };
	while (high - low > precision * high && high > from / 64) {
		const middle = low === 0 ? high / 2 : (low + high) / 2;
		if (await holds(middle)) low = middle;
		else high = middle;
	}
	return { rate: low, probes };
}

/** The plan of a probe: the same load at another rate. */
export const atRate = (plan: Plan, rate: number): Plan => ({
	...plan,
	model: {
		kind: "open",
		arrival: plan.model.kind === "open" ? plan.model.arrival : { process: "poisson" },
		maxInFlight: plan.model.kind === "open" ? plan.model.maxInFlight : 1024,
		profile: [
			{ seconds: 0, rate },
			{ seconds: plan.seconds, rate },
		],
	},
});

/** Whether a run says anything: one whose client lagged says nothing of the edge. */
export const usableRun = ({ samples }: Run): boolean => samples.some(({ phase }) => phase === "measured");
