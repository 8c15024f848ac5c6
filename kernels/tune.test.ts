import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Gpu } from "./gpu/gpu.ts";
import { openGpu } from "./gpu/native/open.ts";
import { available, bucket, pick } from "./gpu/variants.ts";
import { conv3x3, convVariants } from "./image/conv.ts";
import { matmul, matmulKey, matmulOrderKey, pickMatmul } from "./matmul/matmul.ts";
import { matmulVariants } from "./matmul/variants.ts";
import { Bench, randomFloats, words } from "./testing.ts";
import { fastest, fastestOrder, measure, near, type Shapes, trials, tune, tuningId } from "./tune.ts";

let gpu: Gpu;
beforeAll(async () => {
	gpu = await openGpu();
});
afterAll(() => gpu.destroy());

const SHAPES: Shapes = {
	matmul: [
		{ m: 5, k: 32, n: 36 },
		{ m: 7, k: 32, n: 36 },
	],
	conv: [
		{ height: 6, width: 5, inChannels: 8, outChannels: 20 },
		{ height: 4, width: 6, inChannels: 4, outChannels: 8, upsample: true },
	],
	attention: [
		{ rows: 2, tokens: 5, keys: 7, heads: 2, headDim: 16 },
		{ rows: 1, tokens: 3, keys: 9, heads: 1, headDim: 12 },
	],
};

describe("variants give one another's bits", () => {
	test("a row of a matmul alone, among 7 and among 512, in every variant", async () => {
		using bench = new Bench(gpu);
		const [k, n] = [52, 40];
		const x = randomFloats(512 * k, 3);
		const weight = bench.random(k, n).tensor;
		const bias = bench.random(n).tensor;
		const results: Uint32Array[] = [];
		for (const variant of matmulVariants.filter((variant) => available(gpu, variant))) {
			for (const [m, from] of [
				[1, 5],
				[7, 0],
				[512, 0],
			]) {
				const part = bench.put(x.slice(from * k, (from + m) * k)).tensor;
				const y = bench.empty(m, n);
				const [out] = await bench.run(
					(pass) => matmul(pass, { x: part, weight, bias, y, m, k, n, gelu: true, label: variant.name, variant }),
					y,
				);
				results.push(words(out.slice((5 - from) * n, (6 - from) * n)));
			}
		}
		expect(results.length).toBeGreaterThanOrEqual(3 * 14);
		for (const result of results) expect(result).toEqual(results[0]);
	});

	test("an image of a convolution alone and among others, in every variant", async () => {
		using bench = new Bench(gpu);
		const [inChannels, outChannels] = [8, 20];
		const weight = bench.random(9 * inChannels * outChannels).tensor;
		const bias = bench.random(outChannels).tensor;
		const x = randomFloats((30 + 99) * inChannels, 4);
		const results: Uint32Array[] = [];
		for (const variant of convVariants.filter((variant) => available(gpu, variant))) {
			for (const images of [
				[{ pixel: 0, height: 5, width: 6 }],
				[
					{ pixel: 0, height: 5, width: 6 },
					{ pixel: 30, height: 9, width: 11 },
				],
			]) {
				const input = bench.put(x).tensor;
				const y = bench.empty(129, outChannels);
				const [out] = await bench.run(
					(pass) =>
						conv3x3(pass, { x: input, weight, bias, y, images, inChannels, outChannels, label: variant.name, variant }),
					y,
				);
				results.push(words(out.slice(0, 30 * outChannels)));
			}
		}
		for (const result of results) expect(result).toEqual(results[0]);
	});

	test("as measured: every trial, every variant", async () => {
		for (const trial of trials(SHAPES)) {
			const results = await measure(gpu, trial, 1);
			expect(results.length, trial.name).toBeGreaterThanOrEqual(1);
			expect(
				results.filter(({ right }) => !right),
				trial.name,
			).toEqual([]);
			for (const { milliseconds } of results) expect(milliseconds).toBeGreaterThan(0);
		}
	});
});

describe("choosing", () => {
	test("the fastest variant that is right", () => {
		const of = (variant: string, milliseconds: number, right = true) => ({
			variant,
			order: "plain",
			milliseconds,
			right,
			row: new Uint32Array(1),
		});
		expect(fastest([of("a", 3), of("b", 1, false), of("c", 2), of("d", 2.5)])).toBe("c");
		expect(fastest([of("a", 2.09), of("c", 2)], "a")).toBe("a");
		expect(fastest([of("a", 2.2), of("c", 2)], "a")).toBe("c");
		expect(fastest([of("a", 1, false), of("c", 2)], "a")).toBe("c");
	});

	test("an order of sums, over all row counts of a weight: only one that is right in each and gives a row the same bits in all", () => {
		const of = (order: string, milliseconds: number, { right = true, row = 1 } = {}) => ({
			variant: `${order} ${milliseconds}`,
			order,
			milliseconds,
			right,
			row: Uint32Array.of(row),
		});
		expect(
			fastestOrder([
				[of("plain", 1), of("matrix", 2)],
				[of("plain", 9), of("plain", 8), of("matrix", 5)],
			]),
		).toBe("matrix");
		expect(
			fastestOrder([
				[of("plain", 1), of("matrix", 2)],
				[of("plain", 9), of("plain", 5.5), of("matrix", 5)],
			]),
		).toBe("plain");
		expect(
			fastestOrder([
				[of("plain", 5), of("matrix", 2)],
				[of("plain", 9), of("matrix", 5, { right: false })],
			]),
		).toBe("plain");
		expect(
			fastestOrder([
				[of("plain", 5), of("matrix", 2)],
				[of("plain", 9), of("matrix", 5, { row: 2 })],
			]),
		).toBe("plain");
		expect(fastestOrder([[of("plain", 5), of("matrix", 2)], [of("plain", 9)]])).toBe("plain");
	});

	test("another order is right when it is near, and is part of the numerics id", () => {
		const bits = (...values: number[]) => new Uint32Array(Float32Array.from(values).buffer);
		expect(near(bits(1.0009, -2), bits(1, -2))).toBe(true);
		expect(near(bits(1.003, -2), bits(1, -2))).toBe(false);
		expect(near(bits(NaN, -2), bits(1, -2))).toBe(false);
		const order = matmulOrderKey(32, 36);
		expect(tuningId({ [order]: "plain" }, SHAPES, "f16")).toBe(tuningId());
		expect(tuningId({ [order]: "matrix" }, SHAPES, "f16")).not.toBe(tuningId());
		expect(tuningId({ [order]: "matrix" }, SHAPES)).toBe(tuningId());
		expect(tuningId({ [matmulOrderKey(1, 2)]: "matrix" }, SHAPES, "f16")).toBe(tuningId());
	});

	test("an f16 matmul of an order runs a variant of that order for every row count", () => {
		const having = {
			facts: { ...gpu.facts, matrix: { m: 16, n: 16, k: 16, lanes: 32, subgroups: 4 } },
			device: { features: { has: () => true } },
			tuning: { [matmulOrderKey(32, 36)]: "matrix", [matmulKey(500, 32, 36, true)]: "matrix 64x128" },
		} as unknown as Gpu;
		expect([1, 40, 500].map((m) => pickMatmul(having, m, 32, 36, true).name)).toEqual([
			"matrix 16x64",
			"matrix 64x64",
			"matrix 64x128",
		]);
		expect(pickMatmul(having, 500, 32, 36).order).toBeUndefined();
		expect(pickMatmul(having, 500, 32, 40, true).order).toBeUndefined();
	});

	test("a variant that the driver refuses is left out", async () => {
		const [trial] = trials(SHAPES);
		const refused = {
			...trial,
			record: (...[pass, inputs, y, variant]: Parameters<typeof trial.record>) =>
				variant === "tile 2x8" ? pass.run("refused", "not WGSL", [], [y], [1]) : trial.record(pass, inputs, y, variant),
		};
		expect((await measure(gpu, refused, 1, ["tile 1x4", "tile 2x8"])).map(({ variant }) => variant)).toEqual([
			"tile 1x4",
		]);
	});

	test("a wrong variant is found out", async () => {
		const [trial] = trials(SHAPES);
		const wrong = {
			...trial,
			record: (...[pass, inputs, y, variant]: Parameters<typeof trial.record>) =>
				variant !== "tile 2x8" && trial.record(pass, inputs, y, variant),
		};
		const results = await measure(gpu, wrong as typeof trial, 1, ["tile 1x4", "tile 2x8", "tile 4x4"]);
		expect(results.map(({ variant, right }) => [variant, right])).toEqual([
			["tile 1x4", true],
			["tile 2x8", false],
			["tile 4x4", true],
		]);
	});

	test("a tuned variant runs where it is available, else the fallback; an unknown fallback is an error", () => {
		const variants = [
			{ name: "a" },
			{ name: "b" },
			{ name: "c", needs: ["core-features-and-limits-of-tomorrow" as GPUFeatureName] },
		];
		const tuned = {
			facts: gpu.facts,
			device: gpu.device,
			tuning: { one: "b", two: "c", three: "gone" },
		} as unknown as Gpu;
		expect(["one", "two", "three", "four"].map((key) => pick(tuned, key, variants, "a").name)).toEqual([
			"b",
			"a",
			"a",
			"a",
		]);
		expect(() => pick(tuned, "four", variants, "z")).toThrow(/no variant z/);
	});

	test("one entry a shape class", async () => {
		const tuning = await tune(gpu, { ...SHAPES, conv: [], attention: [] });
		expect(Object.keys(tuning)).toEqual(["matmul 32x36 m8"]);
		expect(matmulVariants.map(({ name }) => name)).toContain(tuning["matmul 32x36 m8"]);
		expect([1, 2, 3, 4, 5, 512, 513, 9999].map(bucket)).toEqual([1, 2, 4, 4, 8, 512, 1024, 1024]);
		expect(tuningId()).toMatch(/^kernels \d+$/);
	});
});
