import { expect, it } from "vitest";
import type { RgbImage } from "../../worker/engine/types.ts";
import { psnr, squaredError, ssim } from "./likeness.ts";

const picture = (side: number, value: (x: number, y: number, c: number) => number): RgbImage => ({
	width: side,
	height: side,
	data: Uint8Array.from({ length: side * side * 3 }, (_, i) =>
		value(Math.floor(i / 3) % side, Math.floor(i / 3 / side), i % 3),
	),
});
const ramp = picture(24, (x, y, c) => (x * 7 + y * 13 + c * 29) % 256);
const other = picture(24, (x, y, c) => (x * 7 + y * 13 + c * 29 + ((x * y) % 17) * 3) % 256);

it("agrees with figures computed in PyTorch by two-dimensional convolution in f64", () => {
	expect(squaredError(ramp, other)).toBeCloseTo(4525.905092592592, 9);
	expect(psnr(squaredError(ramp, other))).toBeCloseTo(11.573749182300867, 9);
	expect(ssim(ramp, other)).toBeCloseTo(0.3827474668897249, 9);
});

it("is 1 and infinite for equal pictures, the same both ways, and knows the formula's closed forms", () => {
	expect([ssim(ramp, ramp), psnr(squaredError(ramp, ramp))]).toEqual([expect.closeTo(1, 12), Infinity]);
	expect(ssim(other, ramp)).toBeCloseTo(ssim(ramp, other), 12);
	const [black, white] = [picture(11, () => 0), picture(11, () => 255)];
	expect(psnr(squaredError(black, white))).toBe(0);
	// Without any spread only the means count: C1 / (255^2 + C1).
	expect(ssim(black, white)).toBeCloseTo(2.55 ** 2 / (255 ** 2 + 2.55 ** 2), 9);
});

it("refuses pictures of different sizes and those that the window does not fit", () => {
	expect(() =>
		ssim(
			ramp,
			picture(12, () => 0),
		),
	).toThrow(/24x24 and 12x12/);
	expect(() =>
		squaredError(
			ramp,
			picture(12, () => 0),
		),
	).toThrow(/cannot be compared/);
	expect(() =>
		ssim(
			picture(10, () => 0),
			picture(10, () => 0),
		),
	).toThrow(/11 pixels/);
});
