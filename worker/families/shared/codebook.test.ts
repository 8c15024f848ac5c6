import { expect, test } from "vitest";
import { phiOf } from "./codebook.ts";

const picks = (scales: number, count: number) =>
	Array.from({ length: scales }, (_, scale) => phiOf(scale, scales, count));

test("the shared convolution with the nearest tick; half-way, the one NumPy's rounding chooses", () => {
	expect(picks(6, 4)).toEqual([0, 0, 1, 2, 3, 3]);
	// np.argmin(np.abs(np.linspace(1/12, 11/12, 4) - scale/9)), as the official code computes it.
	expect(picks(10, 4)).toEqual([0, 0, 1, 1, 1, 2, 2, 3, 3, 3]);
	expect(picks(3, 4)).toEqual([0, 2, 3]);
	expect(picks(5, 1)).toEqual([0, 0, 0, 0, 0]);
	expect(picks(5, 2)).toEqual([0, 0, 0, 1, 1]);
	expect(picks(1, 4)).toEqual([0]);
});
