/** Times in HDR histograms: percentiles with their intervals, and what other tools read. */
import {
	build,
	decodeFromCompressedBase64,
	encodeIntoCompressedBase64,
	type Histogram,
	HistogramLogWriter,
} from "hdr-histogram-js";
import { z } from "zod";

export const PERCENTILES = [50, 75, 90, 95, 99, 99.9] as const;

const Value = z.number().nullable();
/** Milliseconds. A percentile that so few samples say nothing of is null. */
export const Distribution = z.object({
	count: z.number(),
	mean: Value,
	std: Value,
	min: Value,
	max: Value,
	percentiles: z.record(z.string(), z.object({ value: z.number(), lower: z.number(), upper: z.number() }).nullable()),
	/** HdrHistogram of microseconds, compressed, base64. */
	hdr: z.string(),
});
export type Distribution = z.infer<typeof Distribution>;

/** Microseconds with three digits, up to what comes. */
export function histogramOf(milliseconds: Iterable<number>): Histogram {
	const histogram = build({ bitBucketSize: 32, autoResize: true, numberOfSignificantValueDigits: 3 });
	for (const value of milliseconds) histogram.recordValue(Math.max(0, Math.round(value * 1000)));
	return histogram;
}

export function distributionOf(milliseconds: readonly number[]): Distribution {
	const histogram = histogramOf(milliseconds);
	const n = milliseconds.length;
	const some = (value: number) => (n === 0 ? null : round(value));
	return {
		count: n,
		mean: some(histogram.mean / 1000),
		std: some(histogram.stdDeviation / 1000),
		// As many arguments as a long run has samples are too many for a call.
		min: some(milliseconds.reduce((least, value) => Math.min(least, value), Infinity)),
		max: some(milliseconds.reduce((most, value) => Math.max(most, value), -Infinity)),
		percentiles: Object.fromEntries(PERCENTILES.map((p) => [`p${p}`, percentile(histogram, p)])),
		hdr: encodeIntoCompressedBase64(histogram),
	};
}

/** With its distribution-free 95 % interval: the order statistics that a binomial count lies between. */
export function percentile(histogram: Histogram, p: number): { value: number; lower: number; upper: number } | null {
	const [n, q] = [histogram.totalCount, p / 100];
	// Fewer than one sample beyond it is expected: the maximum would stand for it.
	if (n * (1 - q) < 1 - 1e-9 || n === 0) return null;
	const spread = 1.96 * Math.sqrt(n * q * (1 - q));
	// A hair less, so that no rounding makes it the next rank.
	const at = (rank: number) =>
		round(histogram.getValueAtPercentile((100 * (Math.min(n, Math.max(1, rank)) - 1e-6)) / n) / 1000);
	return { value: at(n * q), lower: at(Math.floor(n * q - spread)), upper: at(Math.ceil(n * q + spread) + 1) };
}

/** Every recorded value as often as it was recorded, in milliseconds, ascending. */
export function valuesOf({ hdr }: Pick<Distribution, "hdr">): number[] {
	const histogram = decodeFromCompressedBase64(hdr) as Histogram & { totalCount: number };
	const n = histogram.totalCount;
	return Array.from({ length: n }, (_, i) => histogram.getValueAtPercentile((100 * (i + 0.5)) / n) / 1000);
}

export interface Timed {
	/** Milliseconds of the run. */
	at: number;
	ms: number;
}

/** An HdrHistogram log (format 1.3): an interval a second and metric, tagged; microseconds, maxima in milliseconds. */
export function hdrLog(metrics: ReadonlyMap<string, readonly Timed[]>, begunAt: Date, about: string): string {
	const lines: string[] = [];
	const writer = new HistogramLogWriter((line) => void lines.push(line));
	writer.outputComment(about);
	writer.outputLogFormatVersion();
	writer.outputStartTime(begunAt.getTime());
	writer.outputLegend();
	const intervals = [...metrics].flatMap(([metric, values]) =>
		[...Map.groupBy(values, ({ at }) => Math.floor(at / 1000))].map(([second, group]) => ({ metric, second, group })),
	);
	for (const { metric, second, group } of intervals.sort((a, b) => a.second - b.second)) {
		const histogram = histogramOf(group.map(({ ms }) => ms));
		histogram.tag = metric;
		writer.outputIntervalHistogram(histogram, second, second + 1);
	}
	return lines.join("");
}

const round = (value: number): number => Number(value.toFixed(3));
