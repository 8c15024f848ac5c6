import { expect, test } from "vitest";
import { byScore, detailByToken, detailOf, shareHolding } from "./detail.ts";

/** Grey but for one white square of 2 x 2 pixels in the lower right quarter. */
const picture = {
	width: 8,
	height: 8,
	data: Uint8Array.from({ length: 192 }, (_, i) =>
		[5, 6].includes(Math.floor(i / 24)) && [5, 6].includes(Math.floor(i / 3) % 8) ? 110 : 100,
	),
};

test("detail is at edges, and none on the rim of the picture", () => {
	const { data } = detailOf(picture);
	expect(data.reduce((sum, value) => sum + value, 0)).toBe(8 * 30);
	expect([data[5 * 8 + 5], data[5 * 8 + 6], data[7 * 8 + 5], data[6 * 8 + 6], data[0]]).toEqual([60, 30, 30, 0, 0]);
});

test("by token it is the mean where the token stands, for grids that do not divide the picture too", () => {
	const detail = detailOf(picture);
	expect([...detailByToken(detail, [2, 2])]).toEqual([0, 0, 0, 15]);
	expect([...detailByToken(detail, [1, 1])]).toEqual([240 / 64]);
	const thirds = detailByToken(detail, [3, 3]);
	expect(thirds[8]).toBe(240 / 9);
	expect(thirds[0]).toBe(0);
});

test("tokens by falling score, equal ones in their own order, and the share that holds most", () => {
	const scores = Float64Array.of(1, 4, 1, 4);
	expect(byScore(scores)).toEqual([1, 3, 0, 2]);
	expect([0.4, 0.5, 0.8, 0.81, 1].map((hold) => shareHolding(scores, hold))).toEqual([0.25, 0.5, 0.5, 0.75, 1]);
	expect(shareHolding(new Float64Array(4), 0.9)).toBe(0.25);
});
