/** Charts as a browser shows them: no text lies on another. */
import chromium from "@sparticuz/chromium";
import { type Browser, chromium as browserType, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { timeByScale } from "../bench/time-by-scale.ts";
import { convergencePlot } from "../calibrate/plots.ts";
import { type Point, speedAgainstQuality } from "../eval/plot.ts";

let browser: Browser;
let page: Page;
beforeAll(async () => {
	browser = await browserType.launch({
		executablePath: await chromium.executablePath(),
		args: [...chromium.args, "--no-sandbox"],
		headless: true,
	});
	page = await browser.newPage();
});
afterAll(() => browser?.close());

/** The texts of a document, and each pair of them that overlaps; what is not shown counts as nothing. */
async function texts(svg: string): Promise<{ shown: string[]; overlapping: string[] }> {
	await page.setContent(svg);
	const boxes = await page.$$eval("text", (elements) =>
		elements
			.filter((element) => element.textContent && getComputedStyle(element).opacity !== "0")
			.map((element) => {
				const { left, right, top, bottom } = element.getBoundingClientRect();
				return { text: element.textContent ?? "", left, right, top, bottom };
			}),
	);
	const overlapping = boxes.flatMap((a, i) =>
		boxes
			.slice(i + 1)
			// Boxes of lines above each other may touch: letters do not fill them.
			.filter((b) => a.left < b.right && b.left < a.right && a.top + 2 < b.bottom && b.top + 2 < a.bottom)
			.map((b) => `${a.text} on ${b.text}`),
	);
	return { shown: boxes.map(({ text }) => text), overlapping };
}

it("bars that are many and of every length", async () => {
	const labels = ["1x1", "2x2", "4x4", "6x6", "8x8", "12x12", "16x16", "20x20", "24x24", "32x32", "40x40", "64x64"];
	const groups = ["exact", "stagevar-released", "a policy with a long name"].map((name, of) => ({
		name,
		total: 123_456,
		bars: labels.slice(0, labels.length - 5 * of).map((label, i) => ({
			label,
			stage: "fidelity" as const,
			milliseconds: 133 * (i + 1) ** (3 - of),
		})),
	}));
	const { shown, overlapping } = await texts(await timeByScale({ title: "A title", subtitle: "An adapter", groups }));
	expect(overlapping).toEqual([]);
	expect(shown.filter((text) => text === "1x1")).toHaveLength(3);
	expect(shown).toContain("stagevar-released: 2.1 min in all");
});

it("points that lie on each other, each with its name", async () => {
	const measured: [policy: string, score: number, speed: number][] = [
		["exact", 0.908, 1],
		["stagevar", 0.213, 2.29],
		["stagevar-released", 0.263, 3.54],
		["sparsevar", 0.821, 1.39],
		["skipvar", 0.825, 1.35],
		["diverse", 0.825, 1.35],
		["auto-few-tokens", 0.83, 1.38],
		["stagevar-auto", 0.858, 1.36],
		["conditional", 0.858, 1.36],
	];
	const points = measured.map(([policy, overall, transformer]) => ({
		policy,
		quality: { overall, difference: { delta: overall - 0.908, lower: overall - 0.95, upper: overall - 0.86 } },
		speedup: { transformer, total: transformer ** 0.7 },
	}));
	const svg = await speedAgainstQuality("A title", "120 prompts", points as unknown as Point[]);
	const { shown, overlapping } = await texts(svg);
	expect(overlapping).toEqual([]);
	expect(shown).toEqual(expect.arrayContaining(measured.map(([policy]) => policy)));
});

it("stages that begin at one scale", async () => {
	const means = Array.from({ length: 13 }, (_, i) => ({
		...{ coarse: 1 - i / 12, middle: 1 - i / 24, unguided: 0.5, conditional: 0.9, unconditional: 0.8, asJudged: 0.7 },
		...{ detail: 0.5, ranks: [0.2], looks: [] },
	}));
	const seen = { means, structureFrom: 11, fidelityFrom: 12, pictures: Array(48) };
	const { shown, overlapping } = await texts(await convergencePlot({ model: "m", schedule: "1:1" }, seen as never));
	expect(overlapping).toEqual([]);
	expect(shown).toEqual(expect.arrayContaining(["structure", "fidelity", "skip", "without guidance"]));
});
