/**
 * When requests are meant to be sent: an arrival process of unit rate, stretched along a rate that may change. The
 * plan is made before anything is sent, and no answer changes it.
 */
import { randomExponential, randomGamma } from "d3-random";
import { randomOf } from "./random.ts";

/** Between two points the rate (requests a second) goes in a straight line; two points at one time are a step. */
export type RateProfile = readonly { seconds: number; rate: number }[];

/**
 * `poisson`: exponential gaps. `gamma`: gaps whose squared coefficient of variation is 1 / burstiness, as vLLM's
 * benchmark has it: below 1 burstier than Poisson, above 1 more even.
 */
export type Arrival = { process: "constant" } | { process: "poisson" } | { process: "gamma"; burstiness: number };

export const steady = (rate: number, seconds: number): RateProfile => [
	{ seconds: 0, rate },
	{ seconds, rate },
];

/** `base` all the time, but `burst` for `lasting` seconds at the beginning of every `every` seconds. */
export function bursts(
	base: number,
	seconds: number,
	{ burst, lasting, every }: { burst: number; lasting: number; every: number },
): RateProfile {
	const profile: { seconds: number; rate: number }[] = [];
	for (let t = 0; t < seconds; t += every) {
		const [down, end] = [Math.min(seconds, t + lasting), Math.min(seconds, t + every)];
		profile.push({ seconds: t, rate: burst }, { seconds: down, rate: burst });
		if (down < end) profile.push({ seconds: down, rate: base }, { seconds: end, rate: base });
	}
	return profile;
}

/** Requests that a profile offers in all, on average. */
export function expected(profile: RateProfile): number {
	let sum = 0;
	for (let i = 1; i < profile.length; i++)
		sum += ((profile[i].rate + profile[i - 1].rate) / 2) * (profile[i].seconds - profile[i - 1].seconds);
	return sum;
}

/** Milliseconds from the start, in their order. The same for the same seed. */
export function* arrivals(profile: RateProfile, arrival: Arrival, seed: number): Generator<number> {
	const gap = gaps(arrival, seed);
	// A constant process begins at once; the others, in the middle of things.
	let due = arrival.process === "constant" ? 0 : gap();
	let begun = 0;
	for (let i = 1; i < profile.length; i++) {
		const [{ seconds: from, rate: a }, { seconds: to, rate: b }] = [profile[i - 1], profile[i]];
		const area = ((a + b) / 2) * (to - from);
		for (; due < begun + area; due += gap()) yield (from + timeOfArea(due - begun, a, b, to - from)) * 1000;
		begun += area;
	}
}

/** Of unit mean. */
function gaps(arrival: Arrival, seed: number): () => number {
	const random = randomOf(seed, "arrivals");
	if (arrival.process === "constant") return () => 1;
	if (arrival.process === "poisson") return randomExponential.source(random)(1);
	return randomGamma.source(random)(arrival.burstiness, 1 / arrival.burstiness);
}

/** When a rate that goes from `a` to `b` within `seconds` has brought `area` requests: the root of its quadratic. */
function timeOfArea(area: number, a: number, b: number, seconds: number): number {
	const slope = (b - a) / seconds;
	if (area === 0) return 0;
	if (Math.abs(slope) < 1e-12) return area / a;
	return (2 * area) / (a + Math.sqrt(Math.max(0, a * a + 2 * slope * area)));
}
