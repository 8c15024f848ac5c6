import { describe, expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, maxError, randomFloats, words } from "../testing.ts";
import { rowTable } from "../tokens/rows.ts";
import { type Matmul, type Matrix, matmul } from "./matmul.ts";
import { FAST_GROUP, products, put, SHAPES } from "./testing-quantised.ts";
import { transposeWeight } from "./transpose.ts";
import { matmulVariants } from "./variants.ts";

const gpu = await sharedGpu();

describe.each([8, 4] as const)("%i bits", (bits) => {
	const fast = ([, , , group]: (typeof SHAPES)[number]) => group === FAST_GROUP[bits];
	products(gpu, bits, SHAPES.filter(fast));
	// In every variant: quantised.long.test.ts.
	products(
		gpu,
		bits,
		SHAPES.filter((shape) => !fast(shape)),
		matmulVariants.slice(0, 1),
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
