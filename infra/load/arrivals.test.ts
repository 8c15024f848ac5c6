import { expect, it } from "vitest";
import { type Arrival, arrivals, bursts, expected, type RateProfile, steady } from "./arrivals.ts";

const times = (profile: RateProfile, arrival: Arrival, seed = 1) => [...arrivals(profile, arrival, seed)];
const gapsOf = (of: readonly number[]) => of.slice(1).map((at, i) => at - of[i]);
const mean = (of: readonly number[]) => of.reduce((sum, value) => sum + value, 0) / of.length;
/** Squared coefficient of variation. */
const scv = (of: readonly number[]) => mean(of.map((value) => (value - mean(of)) ** 2)) / mean(of) ** 2;

it("a constant process is even, begins at once and offers what it says", () => {
	const even = times(steady(4, 10), { process: "constant" });
	expect(even).toHaveLength(40);
	expect(even[0]).toBe(0);
	for (const gap of gapsOf(even)) expect(gap).toBeCloseTo(250, 6);
});

it.each<[string, Arrival, number]>([
	["poisson", { process: "poisson" }, 1],
	["gamma, bursty", { process: "gamma", burstiness: 0.25 }, 4],
	["gamma, even", { process: "gamma", burstiness: 4 }, 0.25],
])("%s: mean rate and variation are as asked", (_, arrival, variation) => {
	const many = times(steady(50, 400), arrival);
	// Standard deviation of the count of a renewal process: sqrt(n * scv).
	expect(Math.abs(many.length - 20_000)).toBeLessThan(4 * Math.sqrt(20_000 * variation));
	expect(scv(gapsOf(many)) / variation).toBeCloseTo(1, 0.7);
	expect(gapsOf(many).every((gap) => gap >= 0)).toBe(true);
});

it("the same seed gives the same times, another one others", () => {
	const of = (seed: number) => times(steady(5, 20), { process: "poisson" }, seed);
	expect(of(7)).toEqual(of(7));
	expect(of(7)).not.toEqual(of(8));
});

it("a ramp offers its area, in step with its rate", () => {
	const ramp = [
		{ seconds: 0, rate: 0 },
		{ seconds: 20, rate: 10 },
	];
	const made = times(ramp, { process: "constant" });
	expect(made).toHaveLength(expected(ramp));
	// By time t, t^2 / 4 of them.
	for (const [i, at] of made.entries()) expect((at / 1000) ** 2 / 4).toBeCloseTo(i, 6);
});

it("a burst is within its seconds", () => {
	const profile = bursts(1, 20, { burst: 50, lasting: 2, every: 10 });
	expect(expected(profile)).toBe(2 * (2 * 50 + 8));
	const made = times(profile, { process: "poisson" }, 3);
	const inBurst = made.filter((at) => at % 10_000 < 2000).length;
	expect(inBurst / made.length).toBeGreaterThan(0.85);
	expect(inBurst / made.length).toBeLessThan(0.97);
});
