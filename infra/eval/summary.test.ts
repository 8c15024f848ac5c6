import sharp from "sharp";
import { expect, it } from "vitest";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { markdownOf } from "./markdown.ts";
import { type Point, speedAgainstQuality } from "./plot.ts";
import { type PictureLine, Records } from "./records.ts";
import { contactSheet } from "./sheet.ts";
import { summarise } from "./summary.ts";
import { tradesOf } from "./trades.ts";

const digest = `sha256:${"1".repeat(64)}`;
const records = Records.open(undefined, {
	kind: "evaluation",
	format: 1,
	model: "m",
	digest,
	schedule: "1:1",
	judge: "2".repeat(64),
	adapter: "an adapter",
	numerics: "n",
});
const plan: StagePlan = { version: 1, policy: "p", model: digest, schedule: "1:1", steps: [{ kind: "skip" }] };
const cost = { transformerFlops: 8e9, decoderFlops: 2e9, tokenRows: 100, keyValueBytes: 2 ** 20 };
for (const [policy, share] of [
	["exact", 1],
	["fast", 0.5],
	["unmeasured", 0.25],
] as const)
	records.policy({ kind: "policy", policy, plan, cost: { ...cost, transformerFlops: share * cost.transformerFlops } });
const picture = (policy: string, prompt: number, right: boolean, psnr: number | null): PictureLine => ({
	kind: "picture",
	policy,
	prompt,
	category: prompt < 4 ? "colors" : "counting",
	n: 0,
	...(policy === "fast" && { cost: { ...cost, transformerFlops: prompt > 3 ? 12e9 : 4e9 } }),
	right,
	psnr,
	ssim: psnr === null ? 1 : 0.5,
	codes: "0123456789abcdef",
});
// Out of order, and one exact picture more than the other has.
for (const prompt of [7, 0, 1, 2, 3, 4, 5, 6, 8]) records.append(picture("exact", prompt, true, null));
for (const prompt of [4, 5, 6, 7, 0, 1, 2, 3])
	records.append(picture("fast", prompt, prompt !== 2 && prompt !== 7, prompt % 2 ? null : 20));
for (const [round, slower] of [1, 1, 50].entries())
	records.append({ kind: "timing", policy: "fast", round, exact: 100 * slower + 50, own: 90, decode: 50 });
records.append(
	{ kind: "memory", policy: "fast", bytes: 3 * 2 ** 20 },
	{ kind: "diversity", policy: "fast", prompt: 0, distance: 0.25 },
	{ kind: "diversity", policy: "fast", prompt: 1, distance: 0.75 },
);

it("sums up what was measured, and says of the rest that it was not", () => {
	const [exact, fast, unmeasured] = summarise(records);
	expect(exact.quality).toMatchObject({
		overall: 1,
		prompts: 9,
		psnr: Infinity,
		ssim: 1,
		difference: { delta: 0, lower: 0, upper: 0 },
	});
	expect(fast.quality).toMatchObject({
		categories: { colors: 0.75, counting: 0.75 },
		overall: 0.75,
		prompts: 8,
		pictures: 8,
		ssim: 0.75,
	});
	expect(fast.quality?.difference.delta).toBeCloseTo(-0.25, 9);
	expect(fast.quality?.difference.lower).toBeLessThan(-0.25);
	// Half of the pictures are equal: half of the error, 3 dB more.
	expect(fast.quality?.psnr).toBeCloseTo(20 + 10 * Math.log10(2), 9);
	expect(fast.speedup).toEqual({ transformer: 2.5, total: 150 / 90, decode: 5 / 9 });
	expect([fast.memoryBytes, fast.diversity]).toEqual([3 * 2 ** 20, 0.5]);
	expect(unmeasured).toMatchObject({ quality: null, speedup: null, memoryBytes: null, diversity: null });
});

it("writes the figures into tables", () => {
	const text = markdownOf(records.head, summarise(records));
	expect(text).toContain("| fast (8 pictures) | 0.750 | 0.750 | 0.750 | −0.250 |");
	expect(text).toContain("| fast | 8.00 | 2.00 | 100 | 1.0 MiB | 3.0 MiB | 2.50x | 1.67x | 56 % |");
	expect(text).toContain("| unmeasured | 2.00 | 2.00 | 100 | 1.0 MiB |  |  |  |  |");
});

it("has the trades of what was judged and timed, and refuses to make them up", () => {
	const [exact, fast, unmeasured] = summarise(records);
	const { adapter } = records.head;
	expect(tradesOf([exact, { ...fast, policy: "stagevar-skip" }], adapter)).toMatchObject({
		exact: { score: 1, delta: 0, lower: 0, speedup: 1, transformer: 1, prompts: 9 },
		"stagevar-released": {
			score: 0.75,
			delta: -0.25,
			speedup: 1.6667,
			transformer: 2.5,
			adapter: "an adapter",
			prompts: 8,
		},
	});
	expect(() => tradesOf([unmeasured], adapter)).toThrow(/no scores of unmeasured/);
	expect(() => tradesOf([{ ...fast, speedup: null }], adapter)).toThrow(/no times of fast/);
});

it("draws a point a policy: faster is further right, better is higher", async () => {
	const points = summarise(records).filter((summary): summary is Point => summary.quality !== null);
	const svg = await speedAgainstQuality("a < b", "c", points);
	const [exact, fast] = [
		...svg.matchAll(/aria-roledescription="symbol mark"[^>]* transform="translate\(([\d.]+),([\d.]+)\)"/g),
	].map(([, x, y]) => ({ x: Number(x), y: Number(y) }));
	expect(fast.x).toBeGreaterThan(exact.x);
	expect(fast.y).toBeGreaterThan(exact.y);
	expect(svg).toContain("a &lt; b");
	const { width, height } = await sharp(Buffer.from(svg)).metadata();
	expect(Number(width)).toBeGreaterThan(600);
	expect(Number(height)).toBeGreaterThan(300);
});

it("puts every picture into its row and column of the sheet", async () => {
	const filled = (value: number) => ({ width: 16, height: 8, data: new Uint8Array(3 * 16 * 8).fill(value) });
	const sheet = contactSheet(
		["exact", "fast"],
		[
			{ caption: "one", pictures: [filled(10), filled(20)] },
			{ caption: "two", pictures: [filled(30), filled(40)] },
		],
	);
	const { data, info } = await sheet.removeAlpha().raw().toBuffer({ resolveWithObject: true });
	const present = new Map<number, number>();
	for (let i = 0; i < data.length; i += 3)
		if (data[i] === data[i + 1] && data[i] === data[i + 2]) present.set(data[i], (present.get(data[i]) ?? 0) + 1);
	for (const value of [10, 20, 30, 40]) expect(present.get(value)).toBeGreaterThanOrEqual(16 * 8);
	const first = (value: number) => {
		for (let i = 0; ; i++)
			if (
				data[3 * i] === value &&
				data[3 * i + 3] === value &&
				data[3 * i + 6] === value &&
				data[3 * (i + info.width)] === value
			)
				return [i % info.width, Math.floor(i / info.width)];
	};
	expect(first(20)[0]).toBeGreaterThan(first(10)[0]);
	expect(first(20)[1]).toBe(first(10)[1]);
	expect(first(30)[0]).toBe(first(10)[0]);
	expect(first(30)[1]).toBeGreaterThan(first(10)[1]);
});
