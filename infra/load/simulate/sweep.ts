/** The same simulation at several loads, or with several numbers of workers, as charts. */
import type { Chart } from "../report/charts.ts";
import { type Outcome, type Scenario, simulate } from "./simulate.ts";

export const SWEEPS = ["load", "workers"] as const;
export type Sweep = (typeof SWEEPS)[number];

/** Hundredths of what the workers hold; and numbers of workers. */
const LOADS = [30, 50, 60, 70, 80, 85, 90, 95, 100, 120, 150, 200, 300];
const WORKERS = [1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000];

/** What the workers hold, requests a second. */
export const holds = (workers: number, serviceMs: number): number => (workers * 1000) / serviceMs;

export interface Point {
	x: number;
	outcome: Outcome;
}

/** A scenario of so many workers, asked for so many pictures a second for so many seconds. */
export type ScenarioOf = (workers: number, rate: number, seconds: number) => Scenario;

export interface Offered {
	workers: number;
	serviceMs: number;
	rate: number;
	seconds: number;
}

/** Runs one after the other. Over `workers`, the rate grows with them: as much for each as `offered` has. */
export async function sweep(
	over: Sweep,
	{ workers, serviceMs, rate, seconds }: Offered,
	scenarioOf: ScenarioOf,
	signal: AbortSignal,
	done: (made: number, of: number) => void,
): Promise<Point[]> {
	const scenarios =
		over === "load"
			? LOADS.map((x) => ({ x, scenario: scenarioOf(workers, (x / 100) * holds(workers, serviceMs), seconds) }))
			: // As many pictures at every number of workers, so that chance weighs the same.
				WORKERS.map((x) => ({ x, scenario: scenarioOf(x, (rate / workers) * x, (seconds * workers) / x) }));
	const points: Point[] = [];
	for (const [i, { x, scenario }] of scenarios.entries()) {
		points.push({ x, outcome: await simulate(scenario, signal) });
		done(i + 1, scenarios.length);
	}
	return points;
}

export function sweepCharts(points: readonly Point[], over: Sweep): Chart[] {
	const x = {
		label: over === "load" ? "offered, in hundredths of what the workers hold" : "workers",
		values: points.map(({ x }) => x),
	};
	const line = (label: string, of: (outcome: Outcome) => number | null) => ({
		label,
		values: points.map(({ outcome }) => of(outcome)),
		drawn: "line" as const,
	});
	const ms = { label: "milliseconds", log: true };
	return [
		{
			title: "Wait",
			note: "From the request to the picture, less the time on the worker.",
			x,
			y: ms,
			series: [
				line("mean", ({ waitMs }) => waitMs.mean),
				line("p50", ({ waitMs }) => waitMs.p50),
				line("p95", ({ waitMs }) => waitMs.p95),
			],
		},
		{
			title: "First scale, and picture",
			note: "From the request.",
			x,
			y: ms,
			series: [
				line("first scale, p50", ({ firstScaleMs }) => firstScaleMs.p50),
				line("first scale, p95", ({ firstScaleMs }) => firstScaleMs.p95),
				line("picture, p50", ({ finalMs }) => finalMs.p50),
				line("picture, p95", ({ finalMs }) => finalMs.p95),
			],
		},
		{
			title: "Use, and refusals",
			note: "Of the workers' time, spent on pictures; of the requests, turned away since the queue was full.",
			x,
			y: { label: "hundredths", log: false },
			series: [
				line("busy", ({ utilization }) => 100 * utilization),
				line("refused", ({ refused, requests }) => (100 * refused) / requests),
			],
		},
		{
			title: "Cost",
			note: "Of a thousand pictures, workers paid by time.",
			x,
			y: { label: "price", log: false },
			series: [line("a thousand pictures", ({ costPerThousand }) => costPerThousand)],
		},
	];
}
