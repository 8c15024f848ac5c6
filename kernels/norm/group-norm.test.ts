import { expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import type { ImageShape } from "../image/images.ts";
import { Bench, maxError, words } from "../testing.ts";
import { groupNormScratch, groupNormSilu, joinSlices, SLICES, sumRectangle, sumSlicesOfWindow } from "./group-norm.ts";

const gpu = await sharedGpu();

const EPS = 1e-6;
/** Fewer pixels than slices, one pixel, and numbers that slices do not divide. */
const IMAGES: ImageShape[] = [
	{ pixel: 0, height: 3, width: 5 },
	{ pixel: 15, height: 1, width: 1 },
	{ pixel: 16, height: 13, width: 11 },
	{ pixel: 159, height: 8, width: 8 },
];
const PIXELS = 223;

test.each([
	{ channels: 8, groups: 8, offset: 0 },
	{ channels: 12, groups: 2, offset: 0 },
	{ channels: 32, groups: 4, offset: 0 },
	{ channels: 64, groups: 32, offset: 0 },
	{ channels: 8, groups: 2, offset: 300 },
])(
	"groupNormSilu, $groups groups of $channels channels, mean near $offset; " +
		"each image alone gives the bits of the batch",
	async ({ channels, groups, offset }) => {
		using bench = new Bench(gpu);
		const x = bench.random(PIXELS, channels).data.map((v) => v + offset);
		const [weight, bias] = [bench.random(channels), bench.random(channels)];
		const size = channels / groups;
		const run = async (images: ImageShape[], first: number, plain = false) => {
			const pixels = images.reduce((sum, { height, width }) => sum + height * width, 0);
			const part = bench.put(x.slice(first * channels, (first + pixels) * channels)).tensor;
			const y = bench.empty(pixels, channels);
			const scratch = bench.empty(groupNormScratch(images.length, groups));
			const op = {
				x: part,
				y,
				weight: weight.tensor,
				bias: bias.tensor,
				scratch,
				images,
				channels,
				groups,
				eps: EPS,
				plain,
				label: "group norm",
			};
			return (await bench.run((pass) => groupNormSilu(pass, op), y))[0];
		};
		const batch = await run(IMAGES, 0);
		const expected = new Float64Array(PIXELS * channels);
		const normed = new Float64Array(PIXELS * channels);
		for (const { pixel, height, width } of IMAGES) {
			for (let group = 0; group < groups; group++) {
				const places: number[] = [];
				for (let i = pixel; i < pixel + height * width; i++)
					for (let c = 0; c < size; c++) places.push(i * channels + group * size + c);
				const mean = places.reduce((sum, at) => sum + x[at], 0) / places.length;
				const variance = places.reduce((sum, at) => sum + (x[at] - mean) ** 2, 0) / places.length;
				for (const at of places) {
					const n =
						((x[at] - mean) / Math.sqrt(variance + EPS)) * weight.data[at % channels] + bias.data[at % channels];
					normed[at] = n;
					expected[at] = n / (1 + Math.exp(-n));
				}
			}
		}
		// Of one value alone in its group nothing but rounding is left, which the epsilon divides by 1/1000.
		expect(maxError(batch, expected)).toBeLessThan(offset ? 2e-3 : 2e-5);
		expect(maxError(await run(IMAGES, 0, true), normed)).toBeLessThan(offset ? 4e-3 : 4e-5);
		for (const image of IMAGES) {
			const alone = await run([{ ...image, pixel: 0 }], image.pixel);
			expect(words(alone)).toEqual(
				words(batch.slice(image.pixel * channels, (image.pixel + image.height * image.width) * channels)),
			);
		}
	},
);

test("statistics by windows that hold their slices have the whole image's bits; by rectangles, nearly", async () => {
	using bench = new Bench(gpu);
	const [height, width, channels, groups] = [24, 11, 8, 4];
	const x = bench.random(height * width, channels);
	const statistics = async (record: (pass: Pass, scratch: Tensor) => void) => {
		const scratch = bench.empty(groupNormScratch(1, groups));
		const op = { scratch, groups, images: 1, eps: EPS, label: "group norm" };
		const [all] = await bench.run((pass) => {
			record(pass, scratch);
			joinSlices(pass, op);
		}, scratch);
		return Array.from({ length: groups }, (_, group) => [
			...all.slice(4 * group * SLICES, 4 * group * SLICES + 2),
		]).flat();
	};
	const common = { channels, groups, label: "group norm" };
	const window = (top: number, rows: number) =>
		bench.put(x.data.slice(top * width * channels, (top + rows) * width * channels)).tensor;
	const slices = (pass: Pass, scratch: Tensor, top: number, rows: number, first: number, count: number) =>
		sumSlicesOfWindow(pass, { ...common, x: window(top, rows), scratch, height, width, top, first, slices: count });
	const whole = await statistics((pass, scratch) => slices(pass, scratch, 0, height, 0, SLICES));
	// 264 pixels are slices of 5: 20 of them are the first 100 pixels, in 10 rows.
	const parts = await statistics((pass, scratch) => {
		slices(pass, scratch, 0, 10, 0, 20);
		slices(pass, scratch, 9, 15, 20, SLICES - 20);
	});
	expect(parts).toEqual(whole);
	const tiles = await statistics((pass, scratch) => {
		const op = { ...common, scratch };
		const at = (pixel: number) => ({ pixel, stride: width });
		sumRectangle(pass, { ...op, x: x.tensor, at: at(0), height, width: 4, begins: true });
		sumRectangle(pass, { ...op, x: x.tensor, at: at(4), height, width: 7, begins: false });
	});
	expect(maxError(tiles, whole)).toBeLessThan(1e-5);
});
