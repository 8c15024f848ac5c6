import { describe, expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, maxError, randomFloats, words } from "../testing.ts";
import { conv3x3, convWeight } from "./conv.ts";
import type { ImageShape } from "./images.ts";

const gpu = await sharedGpu();

/** Images one after another, height and width of each. */
function lay(sizes: readonly (readonly [number, number])[]): ImageShape[] {
	let pixel = 0;
	return sizes.map(([height, width]) => ({ pixel: (pixel += height * width) - height * width, height, width }));
}
const pixels = (images: readonly ImageShape[]) => images.reduce((sum, { height, width }) => sum + height * width, 0);

interface Case {
	input: number;
	output: number;
	sizes: [number, number][];
	upsample?: boolean;
	add?: boolean;
}

/** Compares a batch with the reference and every image of it with itself alone; returns the error. */
async function compare({ input, output, sizes, upsample = false, add = false }: Case): Promise<number> {
	using bench = new Bench(gpu);
	const images = lay(sizes);
	const sources = lay(sizes.map(([height, width]) => (upsample ? [height / 2, width / 2] : [height, width])));
	const official = randomFloats(output * input * 9, 7);
	const [inChannels, outChannels] = [Math.ceil(input / 4) * 4, Math.ceil(output / 4) * 4];
	const weight = bench.put(convWeight(official, output, input)).tensor;
	const bias = bench.random(outChannels);
	const x = bench.random(pixels(sources), inChannels).data;
	const before = bench.random(pixels(images), outChannels).data;
	const run = async (first: number, count: number) => {
		const own = lay(sizes.slice(first, first + count));
		const [from, to] = [sources[first].pixel, sources[first].pixel + pixels(sources.slice(first, first + count))];
		const part = bench.put(x.slice(from * inChannels, to * inChannels)).tensor;
		const at = images[first].pixel;
		const y = bench.put(before.slice(at * outChannels, (at + pixels(own)) * outChannels)).tensor;
		return (
			await bench.run(
				(pass) =>
					conv3x3(pass, {
						x: part,
						y,
						weight,
						bias: bias.tensor,
						images: own,
						inChannels,
						outChannels,
						upsample,
						add,
						label: "conv",
					}),
				y,
			)
		)[0];
	};
	const batch = await run(0, sizes.length);
	for (const [i, image] of images.entries()) {
		const alone = await run(i, 1);
		expect(words(alone)).toEqual(
			words(batch.slice(image.pixel * outChannels, (image.pixel + image.height * image.width) * outChannels)),
		);
	}
	const expected = new Float64Array(before.length);
	images.forEach(({ pixel, height, width }, i) => {
		const source = sources[i];
		const step = upsample ? 2 : 1;
		for (let row = 0; row < height; row++) {
			for (let column = 0; column < width; column++) {
				for (let o = 0; o < outChannels; o++) {
					const at = (pixel + row * width + column) * outChannels + o;
					let sum = bias.data[o];
					for (let tap = 0; o < output && tap < 9; tap++) {
						const [sy, sx] = [row + Math.floor(tap / 3) - 1, column + (tap % 3) - 1];
						if (sy < 0 || sy >= height || sx < 0 || sx >= width) continue;
						const from = (source.pixel + Math.floor(sy / step) * source.width + Math.floor(sx / step)) * inChannels;
						for (let c = 0; c < input; c++) sum += x[from + c] * official[(o * input + c) * 9 + tap];
					}
					expected[at] = add ? before[at] + sum : sum;
				}
			}
		}
	});
	return maxError(batch, expected);
}

describe("conv3x3, every image alone giving the bits of the batch", () => {
	test.each<Case>([
		{ input: 4, output: 4, sizes: [[1, 1]] },
		{
			input: 12,
			output: 4,
			sizes: [
				[3, 5],
				[1, 9],
				[8, 2],
			],
		},
		{
			input: 8,
			output: 16,
			sizes: [
				[7, 13],
				[13, 7],
			],
		},
		{ input: 4, output: 72, sizes: [[4, 6]] },
		{
			input: 8,
			output: 8,
			sizes: [
				[5, 11],
				[2, 3],
			],
			add: true,
		},
		{ input: 3, output: 5, sizes: [[6, 5]] },
	])("$input to $output channels, images $sizes, add $add", async (options) => {
		expect(await compare(options)).toBeLessThan(1e-5);
	});

	test.each<Case>([
		{ input: 4, output: 12, sizes: [[2, 2]], upsample: true },
		{
			input: 8,
			output: 8,
			sizes: [
				[6, 10],
				[2, 14],
				[10, 4],
			],
			upsample: true,
		},
		{ input: 8, output: 4, sizes: [[4, 6]], upsample: true, add: true },
	])("enlarging: $input to $output channels, images $sizes, add $add", async (options) => {
		expect(await compare(options)).toBeLessThan(1e-5);
	});

	test("refuses channels that are no multiples of 4", () => {
		using bench = new Bench(gpu);
		const t = bench.empty(64);
		const shape = { x: t, y: t, weight: t, bias: t, images: lay([[2, 2]]), label: "odd" };
		expect(() => conv3x3(gpu.pass("test"), { ...shape, inChannels: 3, outChannels: 4 })).toThrow(/multiples of 4/);
	});
});
