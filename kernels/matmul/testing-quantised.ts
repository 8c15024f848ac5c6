/** Whole-number matrices, and the test of their products that fast and slow files share. */
import { expect, test } from "vitest";
import type { Gpu } from "../gpu/gpu.ts";
import { available } from "../gpu/variants.ts";
import { Bench, maxError, randomFloats, words } from "../testing.ts";
import { type Matrix, matmul } from "./matmul.ts";
import { type Quantised, quantisedWords } from "./quantised.ts";
import { transposeWeight } from "./transpose.ts";
import { matmulVariants } from "./variants.ts";

/**
 * Packed random wholes of an official [n, k], their scales (some zero, some subnormal in f16), and the values they
 * stand for.
 */
export function official(
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
export function put(
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

/** Rows, k, columns and group of what is multiplied. */
type Shape = [m: number, k: number, n: number, group: number];
export const SHAPES: readonly Shape[] = [
	[1, 32, 4, 32],
	[3, 64, 12, 64],
	[7, 96, 20, 32],
	[33, 160, 36, 32],
	[19, 320, 132, 64],
];
/** Each group of each count of bits is a program of its own in every variant: slow tests have the other half. */
export const FAST_GROUP = { 8: 32, 4: 64 } as const;

/** Makes a test of each shape. */
export function products(gpu: Gpu, bits: Quantised["bits"], shapes: readonly Shape[], variants = matmulVariants): void {
	const which = variants === matmulVariants ? "every variant" : variants.map(({ name }) => name).join(", ");
	test.each(shapes)(
		`m = %i, k = %i, n = %i, groups of %i: the f64 product, in ${which} the bits of the widened matrix`,
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
			for (const variant of variants.filter((variant) => available(gpu, variant)))
				expect(words(await run(weight, variant)), variant.name).toEqual(words(floats));
		},
	);
}
