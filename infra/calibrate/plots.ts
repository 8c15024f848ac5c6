/** What calibration saw, as two charts over the scales. */
import { guidanceTo } from "../../worker/policies/measurements/guidance-to.ts";
import { look } from "../../worker/policies/measurements/look.ts";
import type { Seen } from "../../worker/policies/measurements/measurement.ts";
import { skipFrom } from "../../worker/policies/measurements/skip-from.ts";
import { escapeXml, round, svg, text } from "../bench/svg.ts";

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
export function convergencePlot(about: About, seen: Seen): string {
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
export function keptPlot(about: About, seen: Seen): string {
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

const COLOURS = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b", "#666666"];
const [LEFT, TOP, WIDTH, HEIGHT] = [56, 84, 560, 260];

/** Lines over scales, each with its name where it ends; `marks` are scales something begins at. */
function chart(
	title: string,
	subtitle: string,
	lines: readonly Line[],
	marks: Readonly<Record<string, number>>,
): string {
	const scales = Math.max(2, ...lines.map(({ values }) => values.length));
	const x = (scale: number) => round(LEFT + (scale / (scales - 1)) * WIDTH);
	const y = (value: number) => round(TOP + (1 - Math.min(1, value)) * HEIGHT);
	const parts: string[] = [];
	for (const tick of [0, 0.25, 0.5, 0.75, 1])
		parts.push(
			`<line class="grid" x1="${LEFT}" x2="${LEFT + WIDTH}" y1="${y(tick)}" y2="${y(tick)}"/>`,
			text(LEFT - 8, y(tick) + 4, String(tick), "end"),
		);
	for (let scale = 0; scale < scales; scale++) parts.push(text(x(scale), TOP + HEIGHT + 18, String(scale), "middle"));
	const byPlace = Map.groupBy(Object.entries(marks), ([, at]) => at);
	for (const [at, names] of byPlace) {
		const place = round(x(at) - WIDTH / (scales - 1) / 2);
		parts.push(
			`<line class="mark" x1="${place}" x2="${place}" y1="${TOP - 6}" y2="${TOP + HEIGHT}"/>`,
			text(place, TOP - 10, names.map(([name]) => name).join(", "), "middle quiet"),
		);
	}
	for (const [i, { name, values }] of lines.entries()) {
		const colour = COLOURS[i % COLOURS.length];
		const points = values.map((value, scale) => `${x(scale)},${y(value)}`).join(" ");
		parts.push(`<polyline fill="none" stroke="${colour}" stroke-width="2" points="${points}"/>`);
		for (const [scale, value] of values.entries()) {
			const title = escapeXml(`${name}, scale ${scale}: ${value.toFixed(3)}`);
			parts.push(`<circle cx="${x(scale)}" cy="${y(value)}" r="3" fill="${colour}"><title>${title}</title></circle>`);
		}
		parts.push(
			`<rect x="${LEFT + WIDTH + 28}" y="${TOP + i * 20}" width="11" height="11" fill="${colour}"/>`,
			text(LEFT + WIDTH + 45, TOP + 10 + i * 20, name, ""),
		);
	}
	const [width, height] = [LEFT + WIDTH + 220, TOP + HEIGHT + 36];
	return svg(
		{
			title,
			subtitle,
			width,
			height,
			style: ".mark { stroke: #665b54; stroke-dasharray: 4 3; }",
			dark: ".mark { stroke: #b3a59a; }",
		},
		LEFT,
		parts,
	);
}
