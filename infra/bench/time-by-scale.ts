/** Time by scale as a picture: a row of bars by policy, coloured by stage, on a common axis. */
import type { Stage } from "../../worker/protocol/plan.ts";
import { ACCENTS, draw, INK, QUIET } from "../chart/draw.ts";

export interface Bar {
	label: string;
	stage: Stage;
	milliseconds: number;
	/** Not run: drawn hollow. */
	estimated?: boolean;
}
export interface Chart {
	title: string;
	/** Adapter, and what the figures are. */
	subtitle: string;
	groups: { name: string; total: number; bars: Bar[] }[];
}

const STAGES: readonly Stage[] = ["semantic", "structure", "fidelity"];
/** Of a row. */
const HEIGHT = 130;
/** A bar's column is at least as wide as the texts above and below it. */
const COLUMN = 56;
const LEAST_WIDTH = 560;

/** A chart without groups or bars is an empty frame. */
export async function timeByScale({ title, subtitle, groups }: Chart): Promise<string> {
	const bars = groups.flatMap(({ name, total, bars }) => {
		const seen = new Map<string, number>();
		return bars.map(({ label, stage, milliseconds, estimated = false }) => {
			// Two scales of one width stand beside each other.
			const nth = seen.get(label) ?? 0;
			seen.set(label, nth + 1);
			const heading = `${name}: ${time(total)} in all`;
			return { heading, column: `${label} ${nth}`, label, stage, milliseconds, text: time(milliseconds), estimated };
		});
	});
	const columns = [...new Set(bars.map(({ column }) => column))];
	const [size, unit] = unitOf(Math.max(1e-3, ...bars.map(({ milliseconds }) => milliseconds)));
	const width = Math.max(LEAST_WIDTH, COLUMN * columns.length);
	const middle = { scale: "x", field: "column", band: 0.5 };
	return await draw({
		title,
		subtitle,
		width,
		height: HEIGHT,
		data: [{ name: "bars", values: bars.map((bar) => ({ ...bar, value: bar.milliseconds / size })) }],
		scales: [
			{ name: "x", type: "band", domain: columns, range: [0, width], padding: 0.25 },
			{ name: "y", domain: { data: "bars", field: "value" }, range: [HEIGHT, 0], nice: true, zero: true },
			{ name: "stage", type: "ordinal", domain: [...STAGES], range: ACCENTS.slice(0, STAGES.length) },
		],
		legends: [{ fill: "stage", orient: "top", direction: "horizontal", symbolType: "square" }],
		layout: { columns: 1, padding: 20 },
		marks: [
			{
				type: "group",
				from: { facet: { name: "row", data: "bars", groupby: "heading" } },
				title: { text: { signal: "parent.heading" }, anchor: "start", fontSize: 13, offset: 12 },
				encode: { update: { width: { value: width }, height: { value: HEIGHT } } },
				axes: [{ scale: "y", orient: "left", grid: true, domain: false, tickCount: 4, title: unit }],
				marks: [
					{
						type: "rect",
						from: { data: "row" },
						encode: {
							update: {
								description: { signal: "datum.stage + (datum.estimated ? ' estimated' : '') + ', ' + datum.text" },
								x: { scale: "x", field: "column" },
								width: { scale: "x", band: 1 },
								y: { scale: "y", field: "value" },
								y2: { scale: "y", value: 0 },
								fill: { scale: "stage", field: "stage" },
								stroke: { scale: "stage", field: "stage" },
								fillOpacity: { signal: "datum.estimated ? 0.15 : 1" },
								strokeDash: { signal: "datum.estimated ? [3, 2] : [1, 0]" },
							},
						},
					},
					{
						type: "text",
						from: { data: "row" },
						encode: {
							update: {
								x: middle,
								y: { scale: "y", field: "value", offset: -4 },
								text: { field: "text" },
								align: { value: "center" },
								fontSize: { value: 10 },
								fill: { value: INK },
							},
						},
					},
					{
						type: "text",
						from: { data: "row" },
						encode: {
							update: {
								x: middle,
								y: { value: HEIGHT + 14 },
								text: { field: "label" },
								align: { value: "center" },
								fontSize: { value: 10 },
								fill: { value: QUIET },
							},
						},
					},
				],
			},
		],
	});
}

/** Milliseconds. */
const UNITS: readonly [size: number, name: string][] = [
	[3_600_000, "h"],
	[60_000, "min"],
	[1000, "s"],
	[1, "ms"],
	[0.001, "µs"],
];
const unitOf = (milliseconds: number) => UNITS.find(([size]) => milliseconds >= size) ?? UNITS[UNITS.length - 1];

/** Two or three digits and a unit. */
export function time(milliseconds: number): string {
	if (milliseconds === 0) return "0";
	const [size, unit] = unitOf(milliseconds);
	const value = milliseconds / size;
	return `${Number(value.toPrecision(value >= 100 ? 3 : 2))} ${unit}`;
}
