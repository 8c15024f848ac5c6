import { describe, expect, test } from "vitest";
import type { Gpu } from "./gpu/gpu.ts";
import { kernel, write } from "./gpu/kernel.ts";
import { openGpu } from "./gpu/native/open.ts";
import { sharedGpu } from "./gpu/native/testing.ts";
import { available, bucket, choose, orderOf, type Tunable } from "./gpu/variants.ts";
import { conv3x3, convVariants } from "./image/conv.ts";
import type { Shapes } from "./index.ts";
import { matmul, matmulTunable } from "./matmul/matmul.ts";
import { matmulVariants } from "./matmul/variants.ts";
import { Bench, randomFloats, words } from "./testing.ts";
import { fastest, fastestOrder, measure, near, trials, tune, tuningId } from "./tune.ts";

const gpu = await sharedGpu();

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
		{ rows: 2, tokens: 5, keys: 7, heads: 2, headDim: 16, own: true },
		{ rows: 2, tokens: 5, keys: 5, heads: 1, headDim: 16, own: true },
		{ rows: 1, tokens: 3, keys: 9, heads: 1, headDim: 12, own: false },
	],
	sequenceAttention: [
		{ tokens: 9, heads: 4, kvHeads: 2, headDim: 8, causal: true },
		{ tokens: 70, heads: 1, kvHeads: 1, headDim: 4, causal: false },
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

test("what is larger than a binding is not tried: the usual choice runs", async () => {
	const small = Object.create(gpu, { bindingBytes: { value: 16 } });
	expect(await tune(small, SHAPES)).toEqual({});
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
		expect(fastest([of("a", 3), of("b", 1, false), of("c", 2), of("d", 2.5)], "a")).toBe("c");
		expect(fastest([of("b", 1, false)], "a")).toBe("a");
		expect(fastest([of("a", 2.09), of("c", 2)], "a")).toBe("a");
		expect(fastest([of("a", 2.2), of("c", 2)], "a")).toBe("c");
		expect(fastest([of("a", 1, false), of("c", 2)], "a")).toBe("c");
	});

	test("an order of sums, over all row counts of a weight: right in each, with the same bits of a row in all", () => {
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

	test("another order is right when it is near", () => {
		const bits = (...values: number[]) => new Uint32Array(Float32Array.from(values).buffer);
		expect(near(bits(1.0009, -2), bits(1, -2))).toBe(true);
		expect(near(bits(1.003, -2), bits(1, -2))).toBe(false);
		expect(near(bits(NaN, -2), bits(1, -2))).toBe(false);
	});

	/** An adapter with subgroup matrices, or without, and what was measured there. */
	const having = (tuning: Record<string, string>, matrix = true) =>
		({
			facts: { ...gpu.facts, ...(matrix && { matrix: { m: 16, n: 16, k: 16, lanes: 32, subgroups: 4 } }) },
			device: { features: { has: () => true }, limits: gpu.device.limits },
			tuning,
		}) as unknown as Gpu;
	const half = (m: number, k = 32, n = 36) => ({ m, k, n, half: true });
	const HALVES: Shapes = { ...SHAPES, matmul: SHAPES.matmul?.map((shape) => ({ ...shape, half: true })) };
	const ORDER = "order matmul f16 32x36";

	test("an order that this adapter runs is part of the numerics id; others, and those of other shapes, are not", () => {
		const plain = tuningId(having({}), HALVES);
		expect(matmulTunable.orderKey?.(half(1))).toBe(ORDER);
		expect(tuningId(having({ [ORDER]: "plain" }), HALVES)).toBe(plain);
		expect(tuningId(having({ [ORDER]: "matrix" }), HALVES)).toBe(`${plain}\n${ORDER} matrix`);
		expect(tuningId(having({ [ORDER]: "matrix" }), SHAPES)).toBe(plain);
		expect(tuningId(having({ [ORDER]: "matrix" }, false), HALVES)).toBe(plain);
		expect(tuningId(having({ "order matmul f16 1x2": "matrix" }), HALVES)).toBe(plain);
	});

	test("an f16 matmul of an order runs a variant of that order for every row count", () => {
		const measured = having({ [ORDER]: "matrix", [matmulTunable.key(half(500))]: "matrix 64x128" });
		expect([1, 40, 500].map((m) => choose(measured, matmulTunable, half(m)).name)).toEqual([
			"matrix 16x64",
			"matrix 64x64",
			"matrix 64x128",
		]);
		expect(choose(measured, matmulTunable, { m: 500, k: 32, n: 36 }).order).toBeUndefined();
		expect(choose(measured, matmulTunable, half(500, 32, 40)).order).toBeUndefined();
	});

	test("an order that cannot run here, whoever left it, changes no program and no id", () => {
		const tuning = { [ORDER]: "matrix", [matmulTunable.key(half(500))]: "matrix 64x128" };
		const without = having(tuning, false);
		expect(orderOf(without, matmulTunable, half(500))).toBe("plain");
		expect(choose(without, matmulTunable, half(500)).order).toBeUndefined();
		const unknown = having({ [ORDER]: "of tomorrow" });
		expect(choose(unknown, matmulTunable, half(500)).order).toBeUndefined();
		expect(tuningId(unknown, HALVES)).toBe(tuningId(having({}), HALVES));
		// A variant of an order that the weight does not have is none of its choices.
		const stale = having({ [matmulTunable.key(half(500))]: "matrix 64x128" });
		expect(choose(stale, matmulTunable, half(500)).order).toBeUndefined();
	});

	test("a variant that the driver refuses is left out", async () => {
		const [trial] = trials(SHAPES);
		const refusedKernel = kernel({
			name: "refused",
			bindings: { y: write("f32") },
			code: () => "not WGSL",
		});
		const refused = {
			...trial,
			record: (...[pass, inputs, y, variant]: Parameters<typeof trial.record>) =>
				variant === "tile 2x8"
					? pass.run(refusedKernel, { label: "refused", bindings: { y }, groups: [1] })
					: trial.record(pass, inputs, y, variant),
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

	test("a tuned variant runs where it is available, else the operator's own; an unknown one is an error", () => {
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
		const of = (untuned: string) => ({
			key: (shape: string) => shape,
			variants,
			untuned: () => untuned,
			trial: () => expect.fail("nothing is measured"),
		});
		expect(["one", "two", "three", "four"].map((key) => choose(tuned, of("a"), key).name)).toEqual([
			"b",
			"a",
			"a",
			"a",
		]);
		expect(() => choose(tuned, of("z"), "four")).toThrow(/no variant z/);
	});

	test("a choice is made once a shape, for a tuning, and so many are kept", async () => {
		const own = await openGpu();
		let asked = 0;
		const tunable: Tunable<{ m: number; half: boolean }> = {
			key: ({ m }) => `m${m}`,
			variants: [{ name: "a" }, { name: "b" }],
			untuned(_, { half }) {
				asked++;
				return half ? "b" : "a";
			},
			trial: () => expect.fail("nothing is measured"),
		};
		const choice = (m: number, half = false) => own.choice(tunable, { m, half }).name;
		expect([choice(1), choice(1, true), choice(1), choice(1, true), asked]).toEqual(["a", "b", "a", "b", 2]);
		own.tuning = { m1: "b" };
		expect([choice(1), choice(2)]).toEqual(["b", "a"]);
		own.tuning = {};
		expect(choice(1)).toBe("a");
		asked = 0;
		for (let m = 0; m < 5000; m++) choice(m);
		expect(asked).toBe(4999);
		choice(4999);
		choice(0);
		expect(asked).toBe(5000);
		own.destroy();
	});

	test("one entry a shape class", async () => {
		const tuning = await tune(gpu, { matmul: SHAPES.matmul });
		expect(Object.keys(tuning)).toEqual(["matmul 32x36 m8"]);
		expect(matmulVariants.map(({ name }) => name)).toContain(tuning["matmul 32x36 m8"]);
		expect([1, 2, 3, 4, 5, 512, 513, 9999].map(bucket)).toEqual([1, 2, 4, 4, 8, 512, 1024, 1024]);
	});
});
