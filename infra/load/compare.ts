/** Two runs side by side, by their summaries alone: is one faster, or is it noise? */
import { randomBeta } from "d3-random";
import { valuesOf } from "./distribution.ts";
import { type Random, randomOf } from "./random.ts";
import type { Summary } from "./summary.ts";

export interface Difference {
	metric: string;
	/** `p50` and the like, or `share` of what was offered. */
	at: string;
	a: number;
	b: number;
	/** B less A, in hundredths of A, with its 95 % interval; of shares, in points. */
	change: number;
	lower: number;
	upper: number;
	verdict: "less" | "more" | "no difference seen";
}

const METRICS = ["first_event", "first_preview", "usable", "final", "gap", "service", "wait"];
const QUANTILES = [50, 95, 99];
const RESAMPLES = 1000;

/** Why the two had better not be compared; none where they can be. */
export function mismatches(a: Summary, b: Summary): string[] {
	const reasons: string[] = [];
	for (const [name, summary] of [["A", a] as const, ["B", b] as const])
		for (const reason of summary.reasons) reasons.push(`${name} is not valid: ${reason}`);
	const { seed: seedA, ...loadA } = a.load;
	const { seed: seedB, ...loadB } = b.load;
	if (JSON.stringify(loadA) !== JSON.stringify(loadB))
		reasons.push("The loads differ: rate, arrivals, mix, or by what they were judged.");
	if (seedA !== seedB) reasons.push("The seeds differ: the same load, but not the same requests.");
	if (JSON.stringify(a.goodput) !== JSON.stringify(b.goodput)) reasons.push("The targets of goodput differ.");
	return reasons;
}

/**
 * Percentiles by bootstrap over requests (Efron 1979), shares by the difference of two proportions. Requests of one run
 * are not independent where they queue: then the true intervals are wider, and only repeated runs tell.
 */
export function compare(a: Summary, b: Summary, seed = 1): Difference[] {
	const random = randomOf(seed, "bootstrap");
	const times = METRICS.filter((name) => a.metrics[name]?.count && b.metrics[name]?.count).flatMap((name) => {
		const [valuesA, valuesB] = [valuesOf(a.metrics[name]), valuesOf(b.metrics[name])];
		return QUANTILES.filter((p) => Math.min(valuesA.length, valuesB.length) * (1 - p / 100) >= 1).map((p) =>
			ofPercentile(random, name, p, valuesA, valuesB),
		);
	});
	return [...times, ...shares(a, b)];
}

function ofPercentile(
	random: Random,
	metric: string,
	p: number,
	a: readonly number[],
	b: readonly number[],
): Difference {
	const [valueA, valueB] = [a, b].map((values) => values[rankOf(values.length, p) - 1]);
	const [drawA, drawB] = [a, b].map((values) => resampled(random, values, p));
	const changes = Array.from({ length: RESAMPLES }, () => 100 * (drawB() / drawA() - 1)).sort((x, y) => x - y);
	return judged({
		metric,
		at: `p${p}`,
		a: valueA,
		b: valueB,
		change: 100 * (valueB / valueA - 1),
		lower: changes[Math.floor(0.025 * RESAMPLES)],
		upper: changes[Math.ceil(0.975 * RESAMPLES) - 1],
	});
}

/** Of a percentile among `n` ascending values, from 1 on. */
const rankOf = (n: number, p: number): number => Math.min(n, Math.max(1, Math.ceil((n * p) / 100 - 1e-9)));

/**
 * The percentile of as many values drawn with replacement: the k-th of n uniform draws is beta distributed, and says
 * which value it falls on.
 */
function resampled(random: Random, values: readonly number[], p: number): () => number {
	const n = values.length;
	const rank = rankOf(n, p);
	const place = randomBeta.source(random)(rank, n - rank + 1);
	return () => values[Math.min(n - 1, Math.floor(place() * n))];
}

function shares(a: Summary, b: Summary): Difference[] {
	const offered = ({ counts }: Summary) => counts.requests + counts.skipped;
	return ["completed", "good", "refused", "faulty"].flatMap((name) => {
		if (a.counts[name] === undefined && b.counts[name] === undefined) return [];
		const [nA, nB] = [offered(a), offered(b)];
		const [pA, pB] = [(a.counts[name] ?? 0) / nA, (b.counts[name] ?? 0) / nB];
		const [wA, wB] = [wilson(pA, nA), wilson(pB, nB)];
		// Newcombe's hybrid score interval (1998, method 10).
		const difference = pB - pA;
		const lower = difference - Math.hypot(pB - wB.lower, wA.upper - pA);
		const upper = difference + Math.hypot(wB.upper - pB, pA - wA.lower);
		return [
			judged({
				metric: name,
				at: "share",
				a: pA,
				b: pB,
				change: 100 * difference,
				lower: 100 * lower,
				upper: 100 * upper,
			}),
		];
	});
}

function wilson(p: number, n: number): { lower: number; upper: number } {
	const z = 1.96;
	const middle = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
	const half = (z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
	return { lower: middle - half, upper: middle + half };
}

const judged = (difference: Omit<Difference, "verdict">): Difference => ({
	...difference,
	verdict: difference.upper < 0 ? "less" : difference.lower > 0 ? "more" : "no difference seen",
});
