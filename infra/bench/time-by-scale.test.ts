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
const bars = (svg: string) =>
	[
		...svg.matchAll(
			/<rect class="(\w+)( estimated)?" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"><title>/g,
		),
	].map(([, stage, estimated, x, y, width, height]) => ({
		stage,
		estimated: Boolean(estimated),
		x: +x,
		y: +y,
		width: +width,
		height: +height,
	}));

describe("time by scale", () => {
	test("bars are as tall as their times, stand on one line, do not overlap, and have their stage's colour", () => {
		const drawn = bars(timeByScale(chart));
		expect(drawn.map(({ stage, estimated }) => [stage, estimated])).toEqual([
			["semantic", false],
			["fidelity", false],
			["semantic", false],
			["fidelity", true],
		]);
		expect(drawn[1].height / drawn[0].height).toBeCloseTo(4, 1);
		expect(drawn[2].height).toBe(drawn[0].height);
		expect(new Set(drawn.map(({ y, height }) => Math.round(y + height))).size).toBe(1);
		for (let i = 1; i < drawn.length; i++) expect(drawn[i].x).toBeGreaterThan(drawn[i - 1].x + drawn[i - 1].width);
	});

	test("is drawn by a renderer at its own size, with text escaped", async () => {
		const svg = timeByScale(chart);
		expect(svg).toContain("model &lt;1&gt; &amp; more");
		const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(svg) as RegExpExecArray;
		const { data, info } = await sharp(Buffer.from(svg)).removeAlpha().raw().toBuffer({ resolveWithObject: true });
		expect([info.width, info.height]).toEqual([Number(width), Number(height)]);
		const bar = bars(svg)[1];
		const at = (Math.round(bar.y + bar.height / 2) * info.width + Math.round(bar.x + bar.width / 2)) * 3;
		expect([...data.subarray(at, at + 3)]).toEqual([0x00, 0x9e, 0x73]);
	});

	test("nothing to draw is a frame", () => {
		expect(bars(timeByScale({ title: "t", subtitle: "s", groups: [] }))).toEqual([]);
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
