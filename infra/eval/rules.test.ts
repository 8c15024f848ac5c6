import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readPrompts } from "./prompts.ts";
import { type Detection, isRight, relations } from "./rules.ts";

const prompts = await readPrompts();
const { rules } = JSON.parse(readFileSync(join(import.meta.dirname, "fixture", "verdicts.json"), "utf8")) as {
	rules: { prompt: number; right: boolean; detections: Detection[] }[];
};

it("judges made-up detections as the Python rules do", () => {
	expect(rules.length).toBe(120);
	expect(rules.filter(({ right }) => right).length).toBeGreaterThan(30);
	expect(rules.map(({ prompt, detections }) => isRight(detections, prompts[prompt]))).toEqual(
		rules.map(({ right }) => right),
	);
});

const at = (x: number, y: number, size = 0.2, more: Partial<Detection> = {}): Detection => ({
	name: "dog",
	score: 0.9,
	x,
	y,
	size,
	color: "red",
	...more,
});

it("places objects by their centres less a tenth of both sides", () => {
	expect(relations(at(0.2, 0.5), at(0.8, 0.5))).toEqual(new Set(["left of"]));
	expect(relations(at(0.8, 0.2), at(0.2, 0.8))).toEqual(new Set(["right of", "above"]));
	expect(relations(at(0.5, 0.9), at(0.5, 0.1))).toEqual(new Set(["below"]));
	expect(relations(at(0.5, 0.5), at(0.5, 0.5))).toEqual(new Set());
	// 0.07 apart, of which 0.04 is slack: less than half of the distance is left.
	expect(relations(at(0.5, 0.5), at(0.57, 0.5))).toEqual(new Set());
});

it("reads counts at the higher threshold, and refuses more than was asked for", () => {
	const counting = { tag: "counting", include: [{ class: "dog", count: 2 }], exclude: [{ class: "dog", count: 3 }] };
	const dogs = (scores: number[]) => scores.map((score, i) => at(i / 4, 0.5, 0.2, { score }));
	expect(isRight(dogs([0.9, 0.6]), counting)).toBe(true);
	expect(isRight(dogs([0.9, 0.4]), counting)).toBe(false);
	expect(isRight(dogs([0.9, 0.8, 0.7]), counting)).toBe(false);
	expect(isRight(dogs([0.9, 0.8, 0.4]), counting)).toBe(true);
	expect(isRight(dogs([0.9, 0.4]), { ...counting, tag: "two_object" })).toBe(true);
});

it("looks at colour and place of the surest objects only", () => {
	const red = { tag: "colors", include: [{ class: "dog", count: 1, color: "red" }] };
	expect(isRight([at(0.2, 0.5, 0.2, { color: "blue", score: 0.5 }), at(0.7, 0.5)], red)).toBe(true);
	expect(isRight([at(0.2, 0.5, 0.2, { color: "blue" }), at(0.7, 0.5, 0.2, { score: 0.5 })], red)).toBe(false);
	const left = {
		tag: "position",
		include: [
			{ class: "cat", count: 1 },
			{ class: "dog", count: 1, position: ["left of" as const, 0] as ["left of", number] },
		],
	};
	const cat = at(0.8, 0.5, 0.2, { name: "cat" });
	expect(isRight([cat, at(0.2, 0.5)], left)).toBe(true);
	expect(isRight([cat, at(0.9, 0.5)], left)).toBe(false);
	expect(isRight([at(0.2, 0.5)], left)).toBe(false);
});
