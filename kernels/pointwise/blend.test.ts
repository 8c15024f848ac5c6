import { expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, maxError } from "../testing.ts";
import { copyWords } from "../tokens/gather.ts";
import { blend } from "./blend.ts";

const gpu = await sharedGpu();

test.each([false, true])("blend over ragged images with gaps, add %s: their pixels and no others", async (add) => {
	using bench = new Bench(gpu);
	const [pixels, channels, share] = [60, 8, 0.25];
	const images = [
		{ pixel: 2, height: 3, width: 4 },
		{ pixel: 20, height: 1, width: 1 },
		{ pixel: 22, height: 6, width: 6 },
	];
	const [a, b, y] = [bench.random(pixels, channels), bench.random(pixels, channels), bench.random(pixels, channels)];
	const [out] = await bench.run(
		(pass) => blend(pass, { a: a.tensor, b: b.tensor, share, y: y.tensor, images, channels, add, label: "blend" }),
		y.tensor,
	);
	const expected = Float64Array.from(y.data);
	for (const { pixel, height, width } of images) {
		for (let i = pixel * channels; i < (pixel + height * width) * channels; i++)
			expected[i] = (add ? y.data[i] : 0) + (1 - share) * a.data[i] + share * b.data[i];
	}
	expect(maxError(out, expected)).toBeLessThan(1e-6);
});

test("copyWords copies to any word", async () => {
	using bench = new Bench(gpu);
	const [x, y] = [bench.random(90), bench.random(100)];
	const [out] = await bench.run(
		(pass) => copyWords(pass, { x: x.tensor, y: y.tensor, to: 3, count: 71, label: "copy" }),
		y.tensor,
	);
	expect(out).toEqual(Float32Array.from(y.data, (v, i) => (i >= 3 && i < 74 ? x.data[i - 3] : v)));
});
