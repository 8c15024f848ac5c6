/** What is made of measured times: percentiles, targets, comparisons, the files that other tools read. */
import { HistogramLogReader } from "hdr-histogram-js";
import { expect, it } from "vitest";
import { findCapacity } from "./capacity.ts";
import { compare } from "./compare.ts";
import { distributionOf, hdrLog, histogramOf, percentile, valuesOf } from "./distribution.ts";
import { parseGoodput } from "./goodput.ts";
import { randomOf } from "./random.ts";
import type { Summary } from "./summary.ts";
import { capacityText } from "./texts.ts";

it("percentiles are within the histogram's three digits, and too few samples have none", () => {
	const values = Array.from({ length: 1000 }, (_, i) => i + 1);
	const { percentiles, max, mean } = distributionOf(values);
	for (const [p, value] of [
		["p50", 500],
		["p90", 900],
		["p99", 990],
		["p99.9", 999],
	] as const)
		expect(percentiles[p]?.value).toBeCloseTo(value, -Math.log10(value / 500));
	expect([max, Math.round(mean ?? 0)]).toEqual([1000, 501]);
	expect(distributionOf(values.slice(0, 99)).percentiles).toMatchObject({ p99: null, "p99.9": null });
	expect(distributionOf([]).percentiles.p50).toBeNull();
	// As many as a long run has.
	expect(distributionOf(Array.from({ length: 300_000 }, (_, i) => i % 5000))).toMatchObject({ min: 0, max: 4999 });
});

it("a percentile's interval holds the true one as often as it says", () => {
	const random = randomOf(1, "coverage");
	const trials = 400;
	let held = 0;
	for (let i = 0; i < trials; i++) {
		// Exponential: its 90th percentile is ln 10 times its mean.
		const drawn = histogramOf(Array.from({ length: 200 }, () => -100 * Math.log(1 - random())));
		const { lower, upper } = percentile(drawn, 90) as { lower: number; upper: number };
		if (lower <= 230.26 && 230.26 <= upper) held += 1;
	}
	expect(held / trials).toBeGreaterThan(0.92);
	expect(held / trials).toBeLessThan(0.99);
});

it("an hlog is read back by its own library, metric by metric", () => {
	const metrics = new Map([
		[
			"final",
			[
				{ at: 100, ms: 12.5 },
				{ at: 1200, ms: 20 },
				{ at: 1300, ms: 30 },
			],
		],
		["gap", [{ at: 150, ms: 3 }]],
	]);
	const reader = new HistogramLogReader(hdrLog(metrics, new Date(1.7e12), "test"));
	const read: [string, number, number][] = [];
	for (let next = reader.nextIntervalHistogram(); next; next = reader.nextIntervalHistogram())
		read.push([next.tag, next.totalCount, Math.round(next.maxValue / 100) / 10]);
	expect(read).toEqual([
		["final", 1, 12.5],
		["gap", 1, 3],
		["final", 2, 30],
	]);
});

it("a target is read, or refused by name", () => {
	expect(parseGoodput("first-preview:300 final:2000, gap:150")).toEqual({
		"first-preview": 300,
		final: 2000,
		gap: 150,
	});
	expect(() => parseGoodput("first:300")).toThrow(/NAME:MILLISECONDS.*first:300/);
});

it("a comparison sees a difference that is there, and mostly none that is not", () => {
	const random = randomOf(2, "compare");
	const summary = (n: number, mean: number): Summary =>
		({
			counts: { requests: n, skipped: 0, completed: n, faulty: 0 },
			metrics: { final: distributionOf(Array.from({ length: n }, () => mean * (0.5 + random()))) },
		}) as unknown as Summary;
	const verdict = (a: number, b: number) =>
		compare(summary(300, a), summary(300, b)).find(({ metric, at }) => metric === "final" && at === "p50")?.verdict;
	expect(verdict(100, 130)).toBe("more");
	expect(verdict(130, 100)).toBe("less");
	const same = Array.from({ length: 20 }, () => verdict(100, 100)).filter((each) => each === "no difference seen");
	expect(same.length).toBeGreaterThanOrEqual(16);
});

it("every recorded value comes back from a summary", () => {
	const values = [1, 2, 2, 5, 100];
	expect(valuesOf(distributionOf(values)).map(Math.round)).toEqual(values);
});

it("the capacity found is the one there is", async () => {
	const { rate, interrupted, probes } = await findCapacity(
		{ share: 0.9, from: 1, most: 1000, precision: 0.05 },
		async (offered) => ({
			attainment: Math.min(1, 13 / offered),
			doubt: null,
		}),
	);
	// Nine of ten are good up to 13 / 0.9.
	expect(rate).toBeLessThanOrEqual(14.45);
	expect(rate).toBeGreaterThan(14.45 * 0.94);
	expect([interrupted, probes.length < 12]).toEqual([false, true]);
	let runs = 0;
	const stopped = async () => (++runs > 3 ? null : { attainment: 1, doubt: null });
	const known = await findCapacity({ share: 0.9, from: 1, most: 1000, precision: 0.05 }, stopped);
	expect([known.rate, known.probes.map(({ rate }) => rate), runs]).toEqual([4, [1, 2, 4], 4]);
	expect(capacityText(known)).toMatch(/\nInterrupted: It holds 4\.00 requests a second, and may hold more\.$/);
	const atOnce = await findCapacity({ share: 0.9, from: 1, most: 1000, precision: 0.05 }, async () => null);
	expect([atOnce.interrupted, capacityText(atOnce)]).toEqual([true, "Interrupted: nothing is known."]);
	const none = async () => ({ attainment: 0, doubt: "The client lagged." });
	const { rate: nothing, probes: doubted } = await findCapacity(
		{ share: 0.9, from: 1, most: 1000, precision: 0.05 },
		none,
	);
	expect(nothing).toBe(0);
	expect(doubted[0]).toEqual({ rate: 1, attainment: 0, holds: false, doubt: "The client lagged." });
});
