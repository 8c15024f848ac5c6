import { describe, expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, maxError, words } from "../testing.ts";
import type { ImageShape } from "./images.ts";
import { type Resize, resize } from "./interpolate.ts";

const gpu = await sharedGpu();

type Size = [number, number];
function lay(sizes: readonly Size[]): ImageShape[] {
	let pixel = 0;
	return sizes.map(([height, width]) => ({ pixel: (pixel += height * width) - height * width, height, width }));
}
const pixels = (images: readonly ImageShape[]) => images.reduce((sum, { height, width }) => sum + height * width, 0);

/** What one output index takes from one axis: [input index, weight]. */
const AXIS: Record<Resize, (i: number, from: number, to: number) => [number, number][]> = {
	nearest: (i, from, to) => [[Math.floor((i * from) / to), 1]],
	area: (i, from, to) => {
		const [start, end] = [Math.floor((i * from) / to), Math.ceil(((i + 1) * from) / to)];
		return Array.from({ length: end - start }, (_, j) => [start + j, 1 / (end - start)]);
	},
	bilinear: (i, from, to) => {
		const at = Math.max(((i + 0.5) * from) / to - 0.5, 0);
		const low = Math.floor(at);
		return [
			[low, 1 - (at - low)],
			[Math.min(low + 1, from - 1), at - low],
		];
	},
	bicubic: (i, from, to) => {
		const at = ((i + 0.5) * from) / to - 0.5;
		return [-1, 0, 1, 2].map((step) => {
			const place = Math.floor(at) + step;
			return [Math.min(Math.max(place, 0), from - 1), keys(Math.abs(at - place))];
		});
	},
};
/** Keys' kernel with a = -0.75. */
function keys(d: number): number {
	const a = -0.75;
	return d <= 1 ? (a + 2) * d ** 3 - (a + 3) * d ** 2 + 1 : a * d ** 3 - 5 * a * d ** 2 + 8 * a * d - 4 * a;
}

async function compare(how: Resize, channels: number, from: Size[], to: Size[], add: boolean): Promise<number> {
	using bench = new Bench(gpu);
	const [sources, targets] = [lay(from), lay(to)];
	const x = bench.random(pixels(sources), channels);
	const y = bench.random(pixels(targets), channels);
	const [out] = await bench.run(
		(pass) => resize(pass, { x: x.tensor, y: y.tensor, how, from: sources, to: targets, channels, add, label: how }),
		y.tensor,
	);
	const expected = Float64Array.from(y.data, (v) => (add ? v : 0));
	targets.forEach((d, n) => {
		const s = sources[n];
		for (let i = 0; i < d.height; i++) {
			for (let j = 0; j < d.width; j++) {
				for (const [sy, wy] of AXIS[how](i, s.height, d.height)) {
					for (const [sx, wx] of AXIS[how](j, s.width, d.width)) {
						for (let c = 0; c < channels; c++)
							expected[(d.pixel + i * d.width + j) * channels + c] +=
								wy * wx * x.data[(s.pixel + sy * s.width + sx) * channels + c];
					}
				}
			}
		}
	});
	return maxError(out, expected);
}

const MODES: Resize[] = ["bilinear", "bicubic", "area", "nearest"];

describe.each(MODES)("%s", (how) => {
	test.each<{ name: string; from: Size[]; to: Size[] }>([
		{
			name: "enlarging",
			from: [
				[2, 3],
				[5, 4],
			],
			to: [
				[7, 9],
				[8, 16],
			],
		},
		{
			name: "shrinking",
			from: [
				[7, 9],
				[16, 6],
			],
			to: [
				[3, 2],
				[5, 5],
			],
		},
		{ name: "enlarging one way and shrinking the other", from: [[3, 10]], to: [[8, 4]] },
		{
			name: "from and to one pixel",
			from: [
				[1, 1],
				[5, 7],
				[1, 6],
			],
			to: [
				[4, 3],
				[1, 1],
				[6, 1],
			],
		},
		{ name: "keeping the size", from: [[5, 3]], to: [[5, 3]] },
	])("$name", async ({ from, to }) => {
		expect(await compare(how, 4, from, to, false)).toBeLessThan(2e-6);
		expect(await compare(how, 12, from, to, true)).toBeLessThan(2e-6);
	});

	test("an image alone gives the bits of the batch", async () => {
		using bench = new Bench(gpu);
		const channels = 8;
		const from: Size[] = [
			[3, 5],
			[9, 4],
			[2, 2],
		];
		const to: Size[] = [
			[7, 6],
			[4, 5],
			[9, 9],
		];
		const x = bench.random(pixels(lay(from)), channels).data;
		const run = async (first: number, count: number) => {
			const [sources, targets] = [lay(from.slice(first, first + count)), lay(to.slice(first, first + count))];
			const at = lay(from)[first].pixel * channels;
			const part = bench.put(x.slice(at, at + pixels(sources) * channels)).tensor;
			const y = bench.empty(pixels(targets), channels);
			return words(
				(
					await bench.run(
						(pass) => resize(pass, { x: part, y, how, from: sources, to: targets, channels, label: how }),
						y,
					)
				)[0],
			);
		};
		const batch = await run(0, 3);
		const targets = lay(to);
		for (let i = 0; i < 3; i++) {
			const at = targets[i].pixel * channels;
			expect(await run(i, 1)).toEqual(batch.slice(at, at + to[i][0] * to[i][1] * channels));
		}
	});
});

// torch.nn.functional.interpolate of [0, 1, 2, 3] (one row, four columns), computed by its definition.
test.each<[Resize, number, number[]]>([
	["bilinear", 8, [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]],
	["bilinear", 2, [0.5, 2.5]],
	["area", 6, [0, 0.5, 1, 2, 2.5, 3]],
	["area", 3, [0.5, 1.5, 2.5]],
	["nearest", 6, [0, 0, 1, 2, 2, 3]],
	["bicubic", 2, [0.40625, 2.59375]],
])("known answer: %s to %i columns", async (how, width, answer) => {
	using bench = new Bench(gpu);
	const x = bench.put(new Float32Array([0, 1, 2, 3].flatMap((v) => [v, v, v, v])));
	const y = bench.empty(width, 4);
	const shape = (width: number) => [{ pixel: 0, height: 1, width }];
	const [out] = await bench.run(
		(pass) => resize(pass, { x: x.tensor, y, how, from: shape(4), to: shape(width), channels: 4, label: how }),
		y,
	);
	expect(
		maxError(
			out,
			answer.flatMap((v) => [v, v, v, v]),
		),
	).toBeLessThan(1e-6);
});
