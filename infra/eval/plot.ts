/** Speed against quality as a picture: one point a policy. */
import type { GroupMark } from "vega";
import { ACCENTS, draw } from "../chart/draw.ts";
import type { Quality, Summary } from "./summary.ts";

const [WIDTH, HEIGHT] = [640, 300];
const [BASELINE, OTHER] = ACCENTS;
/** Where a name may lie beside its point, and how far from it: it gets the first place that is free. */
const ANCHORS = ["right", "top-right", "bottom-right", "left", "top-left", "bottom-left", "top", "bottom"] as const;
const OFFSETS = [8, 16, 28, 44, 64];

export type Point = Summary & { quality: Quality };
type Cost = Point["cost"];

/** What is made faster: how much, as it was timed, and the operations that stand for it where nothing was. */
interface Part {
	name: string;
	speedup: "transformer" | "total";
	flops(cost: Cost): number;
}
const PARTS: readonly Part[] = [
	{ name: "transformer", speedup: "transformer", flops: ({ transformerFlops }) => transformerFlops },
	{
		name: "whole picture",
		speedup: "total",
		flops: ({ transformerFlops, decoderFlops }) => transformerFlops + decoderFlops,
	},
];

/**
 * Scores of the policies over how many times faster their transformer and their whole picture were; by floating point
 * operations where nothing was timed. Bars are the 95 % interval of the difference to the baseline, the first.
 */
export async function speedAgainstQuality(title: string, subtitle: string, points: readonly Point[]): Promise<string> {
	return await draw({
		title,
		subtitle,
		width: WIDTH,
		height: HEIGHT,
		layout: { columns: 1, padding: 24 },
		marks: PARTS.map((part) => panel(part, points)),
	});
}

function panel({ name, speedup, flops }: Part, points: readonly Point[]): GroupMark {
	const timed = points.every((point) => point.speedup !== null);
	const base = points[0]?.quality.overall ?? 1;
	const values = points.map(({ policy, cost, quality: { overall, difference }, ...point }, i) => {
		const speed = timed && point.speedup ? point.speedup[speedup] : flops(points[0].cost) / flops(cost);
		return {
			policy,
			hint: `${policy}: ${overall.toFixed(3)} at ${speed.toFixed(2)}x`,
			colour: i === 0 ? BASELINE : OTHER,
			speed,
			score: overall,
			// About the baseline's score over the same pictures, which may be fewer than it has.
			low: Math.max(0, overall - difference.delta + difference.lower),
			high: Math.min(1, overall - difference.delta + difference.upper),
		};
	});
	const speeds = values.map(({ speed }) => speed);
	const [x, y, colour] = [{ scale: "x", field: "speed" }, { scale: "y", field: "score" }, { field: "colour" }];
	return {
		type: "group",
		encode: { enter: { width: { value: WIDTH }, height: { value: HEIGHT } } },
		data: [{ name: "points", values }],
		scales: [
			{
				name: "x",
				domain: [Math.min(1, ...speeds), Math.max(2, ...speeds)],
				range: [0, WIDTH],
				nice: true,
				zero: false,
			},
			{
				name: "y",
				domain: [
					Math.min(Math.max(0, base - 0.05), ...values.map(({ low }) => low)),
					Math.max(base, ...values.map(({ high }) => high)),
				],
				range: [HEIGHT, 0],
				nice: true,
				zero: false,
			},
		],
		axes: [
			{ scale: "y", orient: "left", grid: true, domain: false, title: "overall score", tickCount: 7 },
			{
				scale: "x",
				orient: "bottom",
				grid: true,
				title: `${name}, times ${timed ? "faster (measured)" : "fewer operations"}`,
			},
		],
		marks: [
			{
				type: "rule",
				from: { data: "points" },
				encode: {
					update: {
						x,
						y: { scale: "y", field: "low" },
						y2: { scale: "y", field: "high" },
						stroke: colour,
						strokeWidth: { value: 1.5 },
					},
				},
			},
			{
				type: "symbol",
				from: { data: "points" },
				encode: { update: { description: { field: "hint" }, x, y, size: { value: 80 }, fill: colour } },
			},
			{
				type: "text",
				// Of the data, not of its symbols, for which Vega would need a canvas.
				from: { data: "points" },
				encode: { update: { x, y, text: { field: "policy" }, fontSize: { value: 13 }, fontWeight: { value: 600 } } },
				transform: [
					{
						type: "label",
						size: [WIDTH, HEIGHT],
						padding: 40,
						anchor: OFFSETS.flatMap(() => ANCHORS),
						offset: OFFSETS.flatMap((offset) => ANCHORS.map(() => offset)),
					},
				],
			},
		],
	};
}
