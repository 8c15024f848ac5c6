import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { type Chart, time, timeByScale } from "./time-by-scale.ts";

const chart: Chart = {
	title: "model <1> & more",
	subtitle: "an adapter",
	groups: [
		{
			name: "exact",
			total: 500,
			bars: [
				{ label: "1x1", stage: "semantic", milliseconds: 100 },
				{ label: "2x2", stage: "fidelity", milliseconds: 400 },
			],
		},
		{
			name: "stagevar",
			total: 200,
			bars: [
				{ label: "1x1", stage: "semantic", milliseconds: 100 },
				{ label: "2x2", stage: "fidelity", milliseconds: 100, estimated: true },
			],
		},
	],
};
/** Bars in order: Vega draws each as a path from its own corner. */
const BAR = new RegExp(
	'<path aria-label="(\\w+)( estimated)?, [^"]*"[^>]* ' +
		'd="M(-?[\\d.]+),(-?[\\d.]+)h([\\d.]+)v([\\d.]+)[^>]* fill="(#\\w+)"',
	"g",
);
const bars = (svg: string) =>
	[...svg.matchAll(BAR)].map(([, stage, estimated, x, y, width, height, fill]) => ({
		stage,
		estimated: Boolean(estimated),
		x: +x,
		y: +y,
		width: +width,
		height: +height,
		fill,
	}));

describe("time by scale", () => {
	test("bars are as tall as their times, stand on one line, beside each other, in their stage's colour", async () => {
		const drawn = bars(await timeByScale(chart));
		expect(drawn.map(({ stage, estimated }) => [stage, estimated])).toEqual([
			["semantic", false],
			["fidelity", false],
			["semantic", false],
			["fidelity", true],
		]);
		expect(drawn[1].height / drawn[0].height).toBeCloseTo(4, 1);
		expect(drawn[2].height).toBe(drawn[0].height);
		expect(new Set(drawn.map(({ y, height }) => Math.round(y + height))).size).toBe(1);
		expect(drawn[1].x).toBeGreaterThan(drawn[0].x + drawn[0].width);
		expect(drawn[2].x).toBe(drawn[0].x);
		expect(drawn.map(({ fill }) => fill)).toEqual(["#d55e00", "#009e73", "#d55e00", "#009e73"]);
	});

	test("is drawn by a renderer at its own size, with text escaped", async () => {
		const svg = await timeByScale(chart);
		expect(svg).toContain("model &lt;1&gt; &amp; more");
		const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg) as RegExpExecArray;
		const { data, info } = await sharp(Buffer.from(svg)).removeAlpha().raw().toBuffer({ resolveWithObject: true });
		expect([info.width, info.height]).toEqual([Number(width), Number(height)]);
		const colours = new Set<string>();
		for (let at = 0; at < data.length; at += 3) colours.add(data.toString("hex", at, at + 3));
		for (const colour of ["faf7f4", "d55e00", "009e73"]) expect(colours).toContain(colour);
	});

	test("two scales of one width stand beside each other", async () => {
		const [{ bars: of }] = chart.groups;
		const twice = { ...chart, groups: [{ ...chart.groups[0], bars: [...of, { ...of[1], milliseconds: 50 }] }] };
		expect(new Set(bars(await timeByScale(twice)).map(({ x }) => x)).size).toBe(3);
	});

	test("nothing to draw is a frame", async () => {
		expect(bars(await timeByScale({ title: "t", subtitle: "s", groups: [] }))).toEqual([]);
	});
});

test("times have a unit that fits", () => {
	expect([0, 0.25, 1, 12.34, 512.6, 1234, 90_000, 7_200_000].map(time)).toEqual([
		"0",
		"250 µs",
		"1 ms",
		"12 ms",
		"513 ms",
		"1.2 s",
		"1.5 min",
		"2 h",
	]);
});
