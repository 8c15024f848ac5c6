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
