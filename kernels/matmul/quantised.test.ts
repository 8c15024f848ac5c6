import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Gpu } from "../gpu/gpu.ts";
import { openGpu } from "../gpu/native/open.ts";
import { available } from "../gpu/variants.ts";
import { Bench, maxError, randomFloats, words } from "../testing.ts";
import { rowTable } from "../tokens/rows.ts";
import { type Matmul, type Matrix, matmul, transposeWeight } from "./matmul.ts";
import { type Quantised, quantisedWords } from "./quantised.ts";
import { matmulVariants } from "./variants.ts";

let gpu: Gpu;
beforeAll(async () => {
	gpu = await openGpu();
});
afterAll(() => gpu.destroy());

/**
 * Packed random wholes of an official [n, k], their scales (some zero, some subnormal in f16), and the values they
 * stand for.
 */
function official(
	bits: Quantised["bits"],
	n: number,
	k: number,
	group: number,
): { packed: Uint8Array; scales: Float16Array; values: Float32Array } {
	const largest = bits === 8 ? 127 : 7;
	const wholes = Int8Array.from(randomFloats(n * k, 7), (v) =>
		Math.max(-largest, Math.min(largest, Math.round(v * (largest + 0.5)))),
	);
	const scales = Float16Array.from(randomFloats((n * k) / group, 8), (v, i) =>
		i % 7 === 3 ? 0 : i % 5 === 1 ? 2 ** -20 : Math.abs(v) / largest,
	);
	const packed =
		bits === 8
			? new Uint8Array(wholes.buffer)
			: Uint8Array.from(
					{ length: wholes.length / 2 },
					(_, i) => (wholes[2 * i] & 15) | ((wholes[2 * i + 1] & 15) << 4),
				);
	return { packed, scales, values: Float32Array.from(wholes, (whole, i) => whole * scales[Math.floor(i / group)]) };
}

/** On the device, in as many parts as there are counts of columns. */
function put(
	bench: Bench,
	bits: Quantised["bits"],
	n: number,
	k: number,
	group: number,
	columns: readonly number[] = [n],
): { weight: Matrix; values: Float32Array } {
	const { packed, scales, values } = official(bits, n, k, group);
	let weight: Matrix | undefined;
	let end = n;
	for (const count of columns.toReversed()) {
		const from = end - count;
		const made = quantisedWords(packed.subarray((from * k * bits) / 8, (end * k * bits) / 8), bits, count, k);
		const widened = transposeWeight(
			Float32Array.from(scales.subarray((from * k) / group, (end * k) / group)),
			count,
			k / group,
		);
		weight = {
			...bench.put(made).tensor,
			shape: [k, count],
			quantised: { bits, group, scales: bench.put(widened).tensor },
			next: weight,
		};
		end = from;
	}
	return { weight: weight as Matrix, values };
}

describe.each([8, 4] as const)("%i bits", (bits) => {
	test.each([
		[1, 32, 4, 32],
		[3, 64, 12, 64],
		[7, 96, 20, 32],
		[33, 160, 36, 32],
		[19, 320, 132, 64],
	])(
		"m = %i, k = %i, n = %i, groups of %i: the f64 product, in every variant the bits of the widened matrix",
		async (m, k, n, group) => {
			using bench = new Bench(gpu);
			const { weight, values } = put(bench, bits, n, k, group);
			const widened = bench.put(transposeWeight(values, n, k)).tensor;
			const x = bench.random(m, k);
			const expected = Array.from({ length: m * n }, (_, i) => {
				let sum = 0;
				for (let j = 0; j < k; j++) sum += x.data[Math.floor(i / n) * k + j] * values[(i % n) * k + j];
				return sum;
			});
			const run = async (weight: Matrix, variant = matmulVariants[0]) => {
				const y = bench.empty(m, n);
				return (
					await bench.run((pass) => matmul(pass, { x: x.tensor, weight, y, m, k, n, variant, label: "whole" }), y)
				)[0];
			};
			const floats = await run(widened);
			expect(maxError(floats, expected)).toBeLessThan(2e-5);
			for (const variant of matmulVariants.filter((variant) => available(gpu, variant)))
				expect(words(await run(weight, variant)), variant.name).toEqual(words(floats));
		},
	);

	test("a number of columns that four does not divide is padded with zeros", async () => {
		using bench = new Bench(gpu);
		const [m, k, n] = [2, 32, 6];
		const { weight, values } = put(bench, bits, n, k, 32);
		const x = bench.random(m, k);
		const y = bench.empty(m, 8);
		const [out] = await bench.run((pass) => matmul(pass, { x: x.tensor, weight, y, m, k, n: 8, label: "padded" }), y);
		const expected = Array.from({ length: m * 8 }, (_, i) =>
			i % 8 < n
				? values
						.subarray((i % 8) * k, ((i % 8) + 1) * k)
						.reduce((sum, v, j) => sum + v * x.data[Math.floor(i / 8) * k + j], 0)
				: 0,
		);
		expect(maxError(out, expected)).toBeLessThan(1e-5);
	});

	test("a row alone, and a matrix in parts, give the bits of the whole, bias, GELU and gate included", async () => {
		using bench = new Bench(gpu);
		const [m, k, n, group] = [21, 128, 76, 32];
		const whole = put(bench, bits, n, k, group).weight;
		const parts = put(bench, bits, n, k, group, [32, 4, 40]).weight;
		const x = bench.random(m, k).data;
		const bias = bench.random(n).tensor;
		const table = bench.random(2, n + 8).tensor;
		const before = bench.random(m, n).data;
		for (const more of [{ gelu: true }, { add: true, gated: true }]) {
			const run = async (weight: Matrix, from: number, count: number) => {
				const y = bench.put(before.slice(from * n, (from + count) * n), [count, n]).tensor;
				const op: Omit<Matmul, "gate"> = {
					x: bench.put(x.slice(from * k, (from + count) * k)).tensor,
					weight,
					bias,
					y,
					m: count,
					k,
					n,
					gelu: more.gelu,
					add: more.add,
					label: "rows",
				};
				const record = bench.run((pass) => {
					const rows = rowTable(pass, [{ token: 0, tokens: count, cond: 1, rope: 0, key: 0, keys: 0, append: 0 }]);
					matmul(pass, { ...op, gate: more.gated ? { table, stride: n + 8, at: 4, rows } : undefined });
				}, y);
				return words((await record)[0]);
			};
			const all = await run(whole, 0, m);
			expect(await run(parts, 0, m)).toEqual(all);
			for (const [from, count] of [
				[0, 1],
				[4, 2],
				[8, 13],
			])
				expect(await run(parts, from, count)).toEqual(all.slice(from * n, (from + count) * n));
		}
	});
});

test("float matrices in parts give the bits of the whole", async () => {
	using bench = new Bench(gpu);
	const [m, k, n] = [9, 36, 28];
	const values = randomFloats(n * k, 3);
	const x = bench.random(m, k).tensor;
	const bias = bench.random(n).tensor;
	const part = (from: number, count: number): Matrix =>
		bench.put(transposeWeight(values.subarray(from * k, (from + count) * k), count, k), [k, count]).tensor;
	const run = async (weight: Matrix) => {
		const y = bench.empty(m, n);
		return words(
			(await bench.run((pass) => matmul(pass, { x, weight, bias, y, m, k, n, gelu: true, label: "parts" }), y))[0],
		);
	};
	expect(await run({ ...part(0, 16), next: { ...part(16, 4), next: part(20, 8) } })).toEqual(await run(part(0, n)));
});
