import { expect, test } from "vitest";
import { highFrequencyShare } from "./frequency.ts";

const latent = (side: number, value: (y: number, x: number) => number) =>
	Float32Array.from({ length: side * side * 2 }, (_, i) => value(Math.floor(i / 2 / side), Math.floor(i / 2) % side));

test("nothing is lost of what is flat or blocky, all of a chessboard", () => {
	expect(
		highFrequencyShare(
			latent(8, () => 3),
			[8, 8],
			[8, 8],
			2,
		),
	).toBe(0);
	expect(
		highFrequencyShare(
			latent(8, (y, x) => (y >> 1) + (x >> 1)),
			[8, 8],
			[8, 8],
			2,
		),
	).toBe(0);
	expect(
		highFrequencyShare(
			latent(8, (y, x) => ((y + x) % 2) * 2 - 1),
			[8, 8],
			[8, 8],
			2,
		),
	).toBe(1);
	expect(
		highFrequencyShare(
			latent(8, () => 0),
			[8, 8],
			[8, 8],
			2,
		),
	).toBe(0);
});

test("half of an offset chessboard", () => {
	expect(
		highFrequencyShare(
			latent(8, (y, x) => ((y + x) % 2) * 2),
			[8, 8],
			[8, 8],
			2,
		),
	).toBeCloseTo(0.5, 12);
});

test("looks at the size of the grid: what is finer is gone there, what is blocky is fine", () => {
	expect(
		highFrequencyShare(
			latent(8, (y, x) => 1 + ((y + x) % 2)),
			[8, 8],
			[4, 4],
			2,
		),
	).toBe(0);
	expect(
		highFrequencyShare(
			latent(8, (y, x) => (((y >> 1) + (x >> 1)) % 2) * 2 - 1),
			[8, 8],
			[4, 4],
			2,
		),
	).toBe(1);
});

test("grids with odd sides", () => {
	// Means of the pairs [0 1] and [2]: squared distances 1/4 + 1/4 of 0 + 1 + 4 in each row.
	expect(
		highFrequencyShare(
			latent(6, (_, x) => x >> 1),
			[6, 6],
			[3, 3],
			2,
		),
	).toBeCloseTo(0.1, 12);
});
