import { readFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { RgbImage } from "../../worker/engine/types.ts";
import { detections, Judge, judgeInput } from "./judge.ts";
import { readPrompts } from "./prompts.ts";
import { type Detection, isRight } from "./rules.ts";

const FIXTURE = join(import.meta.dirname, "fixture");
const { pictures } = JSON.parse(readFileSync(join(FIXTURE, "verdicts.json"), "utf8")) as {
	pictures: { prompt: number; right: boolean; detections: Detection[] }[];
};
const [SIDE, GAP] = [128, 4];

let judge: Judge;
beforeAll(async () => {
	judge = await Judge.open();
});
afterAll(() => judge.close());

async function tile(index: number): Promise<RgbImage> {
	const columns = pictures.length / 2;
	const at = (place: number) => GAP + place * (SIDE + GAP);
	const { data } = await sharp(join(FIXTURE, "pictures.png"))
		.extract({ left: at(index % columns), top: at(Math.floor(index / columns)), width: SIDE, height: SIDE })
		.removeAlpha()
		.raw()
		.toBuffer({ resolveWithObject: true });
	return { width: SIDE, height: SIDE, data: new Uint8Array(data) };
}

it("finds in drawn and in blurred pictures what the PyTorch judge finds, with the same verdicts", async () => {
	const prompts = await readPrompts();
	const found = await judge.detect(await Promise.all(pictures.map((_, i) => tile(i))));
	for (const [i, { prompt, right, detections }] of pictures.entries()) {
		// Recorded by object, as they were asked for.
		const order = (list: readonly Detection[]) =>
			list.toSorted((a, b) => a.name.localeCompare(b.name) || b.score - a.score);
		const [own, recorded] = [order(found[i]), order(detections)];
		expect(own.map(({ name, color }) => [name, color])).toEqual(recorded.map(({ name, color }) => [name, color]));
		for (const key of ["score", "x", "y", "size"] as const)
			own.forEach((object, j) => expect(object[key]).toBeCloseTo(recorded[j][key], 4));
		expect(isRight(found[i], prompts[prompt])).toBe(right);
	}
});

it("scales by area, down and up", () => {
	const pixels = (width: number, height: number, value: (x: number, y: number) => number): RgbImage => ({
		width,
		height,
		data: Uint8Array.from({ length: width * height * 3 }, (_, i) =>
			value(Math.floor(i / 3) % width, Math.floor(i / 3 / width)),
		),
	});
	const checks = judgeInput(
		pixels(4, 4, (x, y) => ((x + y) % 2) * 255),
		2,
	);
	expect([...checks].every((value) => Math.abs(value) < 1e-6)).toBe(true);
	expect([
		...judgeInput(
			pixels(2, 1, (x) => x * 255),
			4,
		).subarray(0, 4),
	]).toEqual([-1, -1, 1, 1]);
});

it("takes peaks of 5 x 5 cells over the threshold, surest first, with the best of the ten colours", () => {
	const about = { objects: ["cat", "dog"], colors: ["red", "green", "own"], grid: 8 };
	const maps = {
		heat: new Float32Array(128).fill(-9),
		color: new Float32Array(192),
		size: new Float32Array(64).fill(Math.log(0.25)),
	};
	maps.heat[0] = 2;
	maps.heat[2] = 1; // Within two cells of a better one.
	maps.heat[3] = 0; // Within two cells of the former, which is no peak but is better.
	maps.heat[64 + 63] = 3;
	maps.heat[64 + 7] = -0.9; // 0.29
	maps.color[63] = 1;
	maps.color[64 + 63] = 2;
	maps.color[128 + 63] = 5; // "own" is not asked for.
	expect(detections(maps, about)).toEqual([
		{
			name: "dog",
			score: expect.closeTo(0.9526, 4),
			x: 7.5 / 8,
			y: 7.5 / 8,
			size: expect.closeTo(0.25, 6),
			color: "green",
		},
		{
			name: "cat",
			score: expect.closeTo(0.8808, 4),
			x: 0.5 / 8,
			y: 0.5 / 8,
			size: expect.closeTo(0.25, 6),
			color: "red",
		},
	]);
});
