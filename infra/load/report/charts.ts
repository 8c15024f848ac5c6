/** What the page of a run shows, as data: every chart is columns of numbers with names. */
import { distributionOf, type PERCENTILES } from "../distribution.ts";
import type { Goodput } from "../goodput.ts";
import type { Run } from "../run.ts";
import { metricsOf } from "../summary.ts";
import { timelineOf } from "../timeline.ts";

export interface Chart {
	title: string;
	/** What to see in it. */
	note: string;
	x: {
		label: string;
		values: number[] /** Labels of the ticks, where they are not the numbers themselves. */;
		ticks?: string[];
	};
	y: { label: string; log: boolean };
	series: { label: string; values: (number | null)[]; drawn: "line" | "points" | "dashed" }[];
}

export function chartsOf(run: Run, goodput: Goodput | null): Chart[] {
	const time = timelineOf(run, goodput);
	const line = (label: string, values: (number | null)[]) => ({ label, values, drawn: "line" as const });
	const seconds = { label: "second of the run", values: time.seconds };
	const some = (values: readonly (number | null)[]) => values.some((value) => value !== null && value > 0);
	const charts: Chart[] = [
		{
			title: "Times of every request",
			note: "From when it was meant to be sent. A slope is a queue that grows; a wall is a stall.",
			x: { label: "intended start, seconds", values: run.samples.map(({ trace }) => trace.intended / 1000) },
			y: { label: "milliseconds", log: true },
			series: (["first_event", "first_preview", "usable", "final"] as const)
				.map((name) => ({
					label: name.replaceAll("_", " "),
					values: run.samples.map(({ judgement }) => judgement.fromIntended[name]),
					drawn: "points" as const,
				}))
				.filter(({ values }) => some(values)),
		},
		percentiles(run),
		{
			title: "Requests a second",
			note: "What was offered, what was finished, what was finished in time, what was turned away.",
			x: seconds,
			y: { label: "a second", log: false },
			series: [
				line("offered", time.offered),
				line("completed", time.completed),
				...(goodput ? [line("good", time.good)] : []),
				line("refused", time.refused),
				line("with faults", time.faulty),
			],
		},
		{
			title: "Under way",
			note: "Readers that wait, and what the edge says of itself: pictures in workers' hands, and in its queue.",
			x: seconds,
			y: { label: "pictures", log: false },
			series: [line("readers", time.inFlight), line("in hand", time.busy), line("in the queue", time.queue)].filter(
				({ values }) => some(values),
			),
		},
		byScale(run),
		{
			title: "Policies",
			note: "Which policy the pictures that were begun in a second are made by.",
			x: seconds,
			y: { label: "a second", log: false },
			series: Object.entries(time.policies).map(([name, values]) => line(name, values)),
		},
	];
	return charts.filter(({ x, series }) => x.values.length > 1 && series.length > 0);
}

/** The curve of HdrHistogram's plots: every step to the right is ten times rarer. */
function percentiles(run: Run): Chart {
	const metrics = metricsOf(run.samples.filter(({ phase }) => phase === "measured"));
	const most = Math.max(10, ...[...metrics.values()].map((values) => values.length));
	const steps = Math.ceil(Math.log10(most) * 20);
	const shares = Array.from({ length: steps + 1 }, (_, i) => 1 - 10 ** (-i / 20));
	const curve = (name: string) => {
		const values = metrics
			.get(name)
			?.map(({ ms }) => ms)
			.sort((a, b) => a - b);
		return shares.map((share) =>
			values && values.length * (1 - share) >= 1
				? values[Math.min(values.length - 1, Math.floor(share * values.length))]
				: null,
		);
	};
	return {
		title: "Percentiles",
		note: "Dashed: from when it was in fact sent. Where the two part, the client has lagged.",
		x: {
			label: "percentile",
			values: shares.map((_, i) => i / 20),
			ticks: ["0", "90", "99", "99.9", "99.99", "99.999"],
		},
		y: { label: "milliseconds", log: true },
		series: ["first_preview", "usable", "final"]
			.flatMap((name) => [
				{ label: name.replaceAll("_", " "), values: curve(name), drawn: "line" as const },
				{
					label: `${name.replaceAll("_", " ")}, from sent`,
					values: curve(`${name}_from_sent`),
					drawn: "dashed" as const,
				},
			])
			.filter(({ values }) => values.some((value) => value !== null)),
	};
}

function byScale(run: Run): Chart {
	const metrics = metricsOf(run.samples.filter(({ phase }) => phase === "measured"));
	const scales = [...metrics.keys()]
		.flatMap((name) => /^scale_(\d+)$/.exec(name)?.[1] ?? [])
		.map(Number)
		.sort((a, b) => a - b);
	const at = (suffix: string, p: (typeof PERCENTILES)[number]) =>
		scales.map((scale) => {
			const values = metrics.get(`scale_${scale}${suffix}`)?.map(({ ms }) => ms) ?? [];
			return distributionOf(values).percentiles[`p${p}`]?.value ?? null;
		});
	return {
		title: "Time to scale k",
		note: "From the intended start; and, dashed, what the worker took for that scale alone.",
		x: { label: "scale", values: scales },
		y: { label: "milliseconds", log: true },
		series: [
			{ label: "p50", values: at("", 50), drawn: "line" as const },
			{ label: "p95", values: at("", 95), drawn: "line" as const },
			{ label: "on the worker, p50", values: at("_service", 50), drawn: "dashed" as const },
		].filter(({ values }) => values.some((value) => value !== null)),
	};
}
