import { expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench } from "../testing.ts";
import { crop } from "./crop.ts";

const gpu = await sharedGpu();

test("a rectangle goes from one image to a place in another, and nothing else changes", async () => {
	using bench = new Bench(gpu);
	const channels = 8;
	const x = bench.random(7 * 9, channels);
	const y = bench.random(6 * 5, channels);
	const op = { x: x.tensor, from: { pixel: 2 * 9 + 3, stride: 9 }, y: y.tensor, to: { pixel: 6, stride: 5 } };
	const expected = y.data.slice();
	for (let row = 0; row < 4; row++)
		for (let i = 0; i < 3 * channels; i++)
			expected[(6 + row * 5) * channels + i] = x.data[((2 + row) * 9 + 3) * channels + i];
	const [actual] = await bench.run(
		(pass) => crop(pass, { ...op, height: 4, width: 3, channels, label: "crop" }),
		y.tensor,
	);
	expect([...actual]).toEqual([...expected]);
});

test("a rectangle is packed into f16 and unpacked again, what is beyond its range as its largest number", async () => {
	using bench = new Bench(gpu);
	const channels = 8;
	const x = bench.random(7 * 9, channels);
	const [beyond, below] = [(2 * 9 + 3) * channels, (2 * 9 + 3) * channels + 1];
	x.data[beyond] = 1e9;
	x.data[below] = -70_000;
	const given = bench.put(x.data, [7 * 9, channels]).tensor;
	const packed = bench.empty(6 * 5, channels / 2);
	const y = bench.empty(4 * 3, channels);
	const there = { pixel: 6, stride: 5, packed: true };
	const size = { height: 4, width: 3, channels, label: "crop" };
	const [actual] = await bench.run((pass) => {
		crop(pass, { x: given, from: { pixel: 2 * 9 + 3, stride: 9 }, y: packed, to: there, ...size });
		crop(pass, { x: packed, from: there, y, to: { pixel: 0, stride: 3 }, ...size });
	}, y);
	for (let row = 0; row < 4; row++)
		for (let i = 0; i < 3 * channels; i++) {
			const value = x.data[((2 + row) * 9 + 3) * channels + i];
			const expected = Math.max(-65504, Math.min(65504, value));
			expect(Math.abs(actual[row * 3 * channels + i] - expected)).toBeLessThanOrEqual(2 ** -11 * Math.abs(expected));
		}
});
