/** Growth as a picture: a part a cause, time and memory as multiples of the smallest size's, linear growth dashed. */
import { ACCENTS, draw, QUIET } from "../chart/draw.ts";
import type { GrowthReport } from "./growth.ts";
import { mib } from "./measure.ts";
import { time } from "./time-by-scale.ts";

const [WIDTH, HEIGHT] = [270, 230];
const SERIES = ["time", "memory", "linear"];

export async function growthChart({ adapter, dimensions, growths }: GrowthReport): Promise<string> {
	const values = growths.flatMap(({ of, points }) => {
		const [first] = points;
		return points.flatMap(({ size, milliseconds, bytes }) => {
			const at = { of, size };
			return [
				{ ...at, series: "time", times: milliseconds / first.milliseconds, text: time(milliseconds) },
				{ ...at, series: "memory", times: bytes / first.bytes, text: mib(bytes) },
				{ ...at, series: "linear", times: size / first.size, text: "" },
			];
		});
	});
	const { width, heads, depth } = dimensions;
	return await draw({
		title: "How a picture's time and memory grow",
		subtitle: [
			`Infinity's blocks, ${depth} of width ${width} with ${heads} head; multiples of the smallest size's, both axes ` +
				"logarithmic.",
			adapter.name,
		],
		width: WIDTH,
		height: HEIGHT,
		data: [{ name: "points", values }],
		scales: [{ name: "colour", type: "ordinal", domain: SERIES, range: [ACCENTS[0], ACCENTS[1], QUIET] }],
		legends: [{ stroke: "colour", orient: "top", direction: "horizontal", symbolType: "stroke" }],
		layout: { columns: growths.length, padding: { column: 28, row: 0 } },
		marks: growths.map(({ of, points: [first, ...more] }, i) => ({
			type: "group",
			encode: { update: { width: { value: WIDTH }, height: { value: HEIGHT } } },
			data: [{ name: `part${i}`, source: "points", transform: [{ type: "filter", expr: `datum.of === '${of}'` }] }],
			scales: [
				{
					name: "x",
					type: "log",
					base: 2,
					domain: [first.size, Math.max(...more.map(({ size }) => size))],
					range: "width",
				},
				{ name: "y", type: "log", domain: { data: `part${i}`, field: "times" }, range: "height", nice: true },
			],
			axes: [
				{ scale: "y", orient: "left", grid: true, domain: false, tickCount: 5, format: "~g" },
				{
					scale: "x",
					orient: "bottom",
					title: of,
					values: [first.size, ...more.map(({ size }) => size)],
					labelOverlap: true,
				},
			],
			marks: [
				{
					type: "group",
					from: { facet: { name: `line${i}`, data: `part${i}`, groupby: "series" } },
					marks: [
						{
							type: "line",
							from: { data: `line${i}` },
							encode: {
								update: {
									x: { scale: "x", field: "size" },
									y: { scale: "y", field: "times" },
									stroke: { scale: "colour", field: "series" },
									strokeWidth: { value: 2 },
									strokeDash: { signal: "datum.series === 'linear' ? [3, 3] : [1, 0]" },
								},
							},
						},
					],
				},
				{
					type: "symbol",
					from: { data: `part${i}` },
					encode: {
						update: {
							x: { scale: "x", field: "size" },
							y: { scale: "y", field: "times" },
							fill: { scale: "colour", field: "series" },
							size: { signal: "datum.series === 'linear' ? 0 : 30" },
							description: { signal: "datum.series + ', ' + datum.size + ': ' + datum.text" },
						},
					},
				},
			],
		})),
	});
}
