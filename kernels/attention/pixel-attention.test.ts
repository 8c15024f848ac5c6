import { expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import type { ImageShape } from "../image/images.ts";
import { Bench, maxError, words } from "../testing.ts";
import { pixelAttention } from "./pixel-attention.ts";

const gpu = await sharedGpu();

const IMAGES: ImageShape[] = [
	{ pixel: 0, height: 1, width: 1 },
	{ pixel: 1, height: 3, width: 5 },
	{ pixel: 16, height: 9, width: 8 },
];
const PIXELS = 88;

test.each([
	{ channels: 4, sharp: 1 },
	{ channels: 32, sharp: 30 },
	{ channels: 640, sharp: 1 },
])(
	"pixels of ragged images, $channels channels, scores up to $sharp; each alone gives the bits of the batch",
	async ({ channels, sharp }) => {
		using bench = new Bench(gpu);
		const qkv = bench.random(PIXELS, 3 * channels).data.map((v, i) => (i % (3 * channels) < channels ? v * sharp : v));
		const run = async (images: ImageShape[], first: number) => {
			const pixels = images.reduce((sum, { height, width }) => sum + height * width, 0);
			const part = bench.put(qkv.slice(first * 3 * channels, (first + pixels) * 3 * channels)).tensor;
			const y = bench.empty(pixels, channels);
			const scores = bench.empty(pixels * pixels);
			return (
				await bench.run(
					(pass) => pixelAttention(pass, { qkv: part, y, scores, images, channels, label: "attention" }),
					y,
				)
			)[0];
		};
		const batch = await run(IMAGES, 0);
		const expected = new Float64Array(PIXELS * channels);
		for (const { pixel, height, width } of IMAGES) {
			const own = Array.from({ length: height * width }, (_, i) => pixel + i);
			for (const i of own) {
				const scores = own.map((j) => {
					let dot = 0;
					for (let c = 0; c < channels; c++) dot += qkv[i * 3 * channels + c] * qkv[j * 3 * channels + channels + c];
					return dot / Math.sqrt(channels);
				});
				const top = Math.max(...scores);
				const total = scores.reduce((sum, score) => sum + Math.exp(score - top), 0);
				own.forEach((j, n) => {
					for (let c = 0; c < channels; c++)
						expected[i * channels + c] +=
							(Math.exp(scores[n] - top) / total) * qkv[j * 3 * channels + 2 * channels + c];
				});
			}
		}
		expect(maxError(batch, expected)).toBeLessThan(2e-5);
		for (const image of IMAGES) {
			const alone = await run([{ ...image, pixel: 0 }], image.pixel);
			expect(words(alone)).toEqual(
				words(batch.slice(image.pixel * channels, (image.pixel + image.height * image.width) * channels)),
			);
		}
	},
);

test("scores of fewer queries at a time than there are give the same bits; too few for one are refused", async () => {
	using bench = new Bench(gpu);
	const qkv = bench.random(PIXELS, 3 * 32).tensor;
	const run = async (room: number) => {
		const y = bench.empty(PIXELS, 32);
		const scores = bench.empty(room);
		const op = { qkv, y, scores, images: IMAGES, channels: 32, label: "attention" };
		return (await bench.run((pass) => pixelAttention(pass, op), y))[0];
	};
	const whole = words(await run(PIXELS ** 2));
	for (const room of [72, 160, 1000]) expect(words(await run(room))).toEqual(whole);
	await expect(run(68)).rejects.toThrow(/room for 68 scores, and a query has 72/);
});
