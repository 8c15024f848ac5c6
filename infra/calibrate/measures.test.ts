import { expect, test } from "vitest";
import type { RgbImage } from "../../worker/engine/types.ts";
import { agreement, changeByToken, fromSurroundings, holding, rankShare, unsettled } from "./measures.ts";

const picture = (side: number, grey: (y: number, x: number) => number): RgbImage => ({
	width: side,
	height: side,
	data: Uint8Array.from({ length: side * side * 3 }, (_, i) =>
		grey(Math.floor(i / 3 / side), Math.floor(i / 3) % side),
	),
});

test("a picture is settled where it looks the same, whatever its size; a grey one leaves all to come", () => {
	const halves = (side: number) => picture(side, (_, x) => (x < side / 2 ? 0 : 200));
	expect(unsettled(halves(64), halves(64), 8)).toBe(0);
	expect(unsettled(halves(4), halves(64), 8)).toBe(0);
	expect(
		unsettled(
			picture(64, () => 100),
			halves(64),
			8,
		),
	).toBe(1);
	// A fine chessboard over it is seen at full resolution alone.
	const noisy = picture(64, (y, x) => (x < 32 ? 0 : 200) + ((x + y) % 2) * 20);
	expect(unsettled(halves(64), noisy, 64)).toBeGreaterThan(unsettled(halves(64), noisy, 8));
	expect([
		unsettled(
			halves(8),
			picture(8, () => 7),
			8,
		),
		unsettled(
			picture(8, () => 7),
			picture(8, () => 7),
			8,
		),
	]).toEqual([1, 0]);
});

test("agreement counts choices, not values", () => {
	expect(agreement(Float32Array.of(1, 2, 5, 0), Float32Array.of(0, 9, 0, 1), 2)).toBe(0.5);
	expect(agreement(Float32Array.of(1, 2, 5, 0), Float32Array.of(0, 1, 9, 3), 4)).toBe(1);
});

test("the tokens that hold a share of the energy, by another score, and what they hold of that", () => {
	const energies = Float64Array.of(1, 8, 1, 0);
	expect(holding(energies, 0.8, energies)).toEqual({ tokens: 0.25, score: 0.8 });
	expect(holding(energies, 0.8, Float64Array.of(3, 1, 0, 0))).toEqual({ tokens: 0.5, score: 1 });
	expect(holding(energies, 1, Float64Array.of(0, 0, 0, 0))).toEqual({ tokens: 0.75, score: 1 });
	expect(holding(new Float64Array(2), 0.9, Float64Array.of(1, 3))).toEqual({ tokens: 0.5, score: 0.75 });
});

test("change where each token stands", () => {
	const change = changeByToken(
		picture(6, () => 10),
		picture(6, (y, x) => (y < 2 && x < 3 ? 11 : 10)),
		[3, 2],
	);
	expect([...change]).toEqual([18, 0, 0, 0, 0, 0]);
});

test("distances from the tokens around", () => {
	// One bright token in a corner of 3 x 3: its own surroundings are itself and three others.
	const x = new Float32Array(9);
	x[0] = 4;
	expect([...fromSurroundings(x, 3, 1)].map((value) => Number(value.toFixed(4)))).toEqual([
		9, 0.4444, 0, 0.4444, 0.1975, 0, 0, 0, 0,
	]);
});

test("rank as a share of the tokens, with more tokens than channels and fewer", () => {
	const outer = (tokens: number, width: number, rank: number) =>
		Float32Array.from({ length: tokens * width }, (_, i) => {
			const [t, c] = [Math.floor(i / width), i % width];
			return Array.from({ length: rank }, (_, r) => Number(t % rank === r) * Number(c % rank === r)).reduce(
				(a, b) => a + b,
				0,
			);
		});
	expect(rankShare(outer(12, 4, 2), 4, 0.99)).toBeCloseTo(2 / 12, 9);
	expect(rankShare(outer(4, 12, 2), 12, 0.99)).toBeCloseTo(2 / 4, 9);
	expect(rankShare(outer(12, 4, 2), 4, 0.5)).toBeCloseTo(1 / 12, 9);
});
