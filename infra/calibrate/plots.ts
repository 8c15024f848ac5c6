/** What calibration saw, as two charts over the scales. */
import { guidanceTo } from "../../worker/policies/measurements/guidance-to.ts";
import { look } from "../../worker/policies/measurements/look.ts";
import type { Seen } from "../../worker/policies/measurements/measurement.ts";
import { skipFrom } from "../../worker/policies/measurements/skip-from.ts";
import { ACCENTS, draw, QUIET } from "../chart/draw.ts";

interface About {
	model: string;
	schedule: string;
}
interface Line {
	name: string;
	/** 0 to 1, by scale. */
	values: readonly number[];
}

/**
 * How much of the finished picture is still to come after each scale, and how far each guidance row alone chooses as
 * the pair.
 */
export function convergencePlot(about: About, seen: Seen): Promise<string> {
	const { means, structureFrom, fidelityFrom } = seen;
	const lines: Line[] = [
		{ name: "to come, coarse", values: means.map(({ coarse }) => coarse) },
		{ name: "to come, middle", values: means.map(({ middle }) => middle) },
		{ name: "changed without guidance", values: means.map(({ unguided }) => unguided) },
		{ name: "conditional row agrees", values: means.map(({ conditional }) => conditional) },
		{ name: "unconditional row agrees", values: means.map(({ unconditional }) => unconditional) },
	];
	if (means[0].asJudged !== null)
		lines.push({ name: "judged as finished", values: means.map(({ asJudged }) => asJudged ?? 0) });
	return chart(`${about.model}, ${about.schedule}: where semantics and structure settle`, subtitle(seen), lines, {
		structure: structureFrom,
		fidelity: fidelityFrom,
		skip: skipFrom.measure(seen),
		"without guidance": guidanceTo.measure(seen),
	});
}

/** Shares of the tokens that hold most, and ranks of the chunks' outputs. */
export function keptPlot(about: About, seen: Seen): Promise<string> {
	const { means, fidelityFrom } = seen;
	const looked = look.measure(seen);
	const chunks = means[0].ranks.map(
		(_, chunk): Line => ({ name: `rank, chunk ${chunk}`, values: means.map(({ ranks }) => ranks[chunk]) }),
	);
	const looks = means
		.map(
			(_, look): Line => ({
				name: `by the picture of scale ${look}`,
				values: means.map(({ looks }) => looks[look]?.tokens ?? 1),
			}),
		)
		.slice(Math.max(0, looked.after - 1), -1);
	const lines: Line[] = [
		...looks,
		{ name: "tokens with detail", values: means.map(({ detail }) => detail) },
		...chunks,
	];
	return chart(`${about.model}, ${about.schedule}: tokens and ranks that a scale needs`, subtitle(seen), lines, {
		fidelity: fidelityFrom,
		kept: looked.from,
	});
}

const subtitle = ({ pictures }: Seen) =>
	`mean of ${pictures.length} exact pictures, by scale; dashed: where the calibration begins a stage`;

const [WIDTH, HEIGHT] = [560, 260];
/** Of a line of text. */
const LINE = 15;

/** Lines over scales, by colour; `marks` are scales something begins at, each named in a line of its own. */
async function chart(
	title: string,
	subtitle: string,
	lines: readonly Line[],
	marks: Readonly<Record<string, number>>,
): Promise<string> {
	const scales = Math.max(2, ...lines.map(({ values }) => values.length));
	const names = lines.map(({ name }) => name);
	const values = lines.flatMap(({ name, values }) =>
		values.map((value, scale) => ({
			name,
			scale,
			value: Math.min(1, value),
			hint: `${name}, scale ${scale}: ${value.toFixed(3)}`,
		})),
	);
	// The name of what begins later stands higher, so that no line crosses a name.
	const begun = Object.entries(marks)
		.sort(([, a], [, b]) => a - b)
		.map(([name, at], i) => ({ name, at: at - 0.5, y: -8 - LINE * i }));
	const [x, y, colour] = [
		{ scale: "x", field: "scale" },
		{ scale: "y", field: "value" },
		{ scale: "colour", field: "name" },
	];
	return await draw({
		title,
		subtitle,
		width: WIDTH,
		height: HEIGHT,
		data: [
			{ name: "values", values },
			{ name: "begun", values: begun },
		],
		scales: [
			// What never begins is marked behind the last scale.
			{ name: "x", domain: [0, scales - 0.5], range: "width", zero: false },
			{ name: "y", domain: [0, 1], range: "height" },
			{ name: "colour", type: "ordinal", domain: names, range: ACCENTS },
		],
		axes: [
			{ scale: "y", orient: "left", grid: true, domain: false, values: [0, 0.25, 0.5, 0.75, 1], format: ".2f" },
			{ scale: "x", orient: "bottom", domain: false, tickMinStep: 1, format: "d", title: "scale" },
		],
		legends: [{ fill: "colour", orient: "right", symbolType: "square", labelLimit: 300 }],
		marks: [
			{
				type: "rule",
				from: { data: "begun" },
				encode: {
					update: {
						x: { scale: "x", field: "at" },
						y: { field: "y" },
						y2: { value: HEIGHT },
						stroke: { value: QUIET },
						strokeDash: { value: [4, 3] },
					},
				},
			},
			{
				type: "text",
				from: { data: "begun" },
				encode: {
					update: {
						x: { scale: "x", field: "at", offset: 4 },
						y: { field: "y" },
						baseline: { value: "middle" },
						text: { field: "name" },
						fill: { value: QUIET },
					},
				},
			},
			{
				type: "group",
				from: { facet: { name: "line", data: "values", groupby: "name" } },
				marks: [
					{
						type: "line",
						from: { data: "line" },
						encode: { update: { x, y, stroke: colour, strokeWidth: { value: 2 } } },
					},
					{
						type: "symbol",
						from: { data: "line" },
						encode: { update: { description: { field: "hint" }, x, y, fill: colour, size: { value: 28 } } },
					},
				],
			},
		],
	});
}
