import { expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench } from "../testing.ts";
import { pixelShuffle, pixelUnshuffle } from "./pixel-shuffle.ts";

const gpu = await sharedGpu();

test.each([
	[2, 8, 8],
	[2, 14, 16],
	[3, 5, 8],
	[1, 4, 4],
])("side %i, %i channels in %i: as PyTorch orders them, and back", async (side, channels, stride) => {
	using bench = new Bench(gpu);
	// A token of nobody lies between the images.
	const images = [
		{ pixel: 0, height: 1, width: 1 },
		{ pixel: 1, height: 3, width: 2 },
		{ pixel: 8, height: 2, width: 5 },
	];
	const features = channels * side ** 2;
	const x = bench.random(18, features);
	const y = bench.random(18 * side ** 2, stride);
	const z = bench.random(18, features);
	const op = { images, side, channels, stride };
	const [shuffled, back] = await bench.run(
		(pass) => {
			pixelShuffle(pass, { x: x.tensor, y: y.tensor, ...op, label: "shuffle" });
			pixelUnshuffle(pass, { x: y.tensor, y: z.tensor, ...op, label: "unshuffle" });
		},
		y.tensor,
		z.tensor,
	);
	const [expected, restored] = [y.data.slice(), z.data.slice()];
	for (const { pixel, height, width } of images) {
		for (let i = 0; i < height * side; i++) {
			for (let j = 0; j < width * side; j++) {
				const token = pixel + Math.floor(i / side) * width + Math.floor(j / side);
				for (let c = 0; c < stride; c++) {
					expected[(pixel * side ** 2 + i * width * side + j) * stride + c] =
						c < channels ? x.data[token * features + (c * side + (i % side)) * side + (j % side)] : 0;
				}
			}
		}
		restored.set(x.data.subarray(pixel * features, (pixel + height * width) * features), pixel * features);
	}
	expect(shuffled).toEqual(expected);
	expect(back).toEqual(restored);
});
