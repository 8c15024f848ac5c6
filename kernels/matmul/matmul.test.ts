import { describe, expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { choose } from "../gpu/variants.ts";
import { Bench, maxError, randomFloats, words } from "../testing.ts";
import { type Row, rowTable } from "../tokens/rows.ts";
import { matmul, matmulTunable } from "./matmul.ts";
import { transposeHalves, transposeWeight } from "./transpose.ts";

const gpu = await sharedGpu();

const geluReference = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

interface Case {
	m: number;
	k: number;
	n: number;
	bias?: boolean;
	gelu?: boolean;
	add?: boolean;
	/** Tokens of each row and the condition of each. */
	gate?: { tokens: number[]; conds: number[] };
}

const row = (token: number, tokens: number, cond: number): Row => ({
	token,
	tokens,
	cond,
	rope: 0,
	key: 0,
	keys: 0,
	append: 0,
});
function lay(tokens: number[], conds: number[]): Row[] {
	let at = 0;
	return tokens.map((count, i) => row((at += count) - count, count, conds[i]));
}

async function compare({ m, k, n, bias, gelu, add, gate }: Case): Promise<number> {
	using bench = new Bench(gpu);
	const x = bench.random(m, k);
	const official = randomFloats(n * k, 99);
	const weight = bench.put(transposeWeight(official, n, k));
	const b = bench.random(n);
	const y = bench.random(m, n);
	const stride = n + 12;
	const at = 8;
	const table = bench.random(4, stride);
	const [out] = await bench.run((pass) => {
		const rows = gate && rowTable(pass, lay(gate.tokens, gate.conds));
		matmul(pass, {
			x: x.tensor,
			weight: weight.tensor,
			bias: bias ? b.tensor : undefined,
			y: y.tensor,
			m,
			k,
			n,
			gelu,
			add,
			gate: rows && { table: table.tensor, stride, at, rows },
			label: "matmul",
		});
	}, y.tensor);
	const conds = gate?.tokens.flatMap((count, i) => Array<number>(count).fill(gate.conds[i]));
	const expected = Array.from({ length: m * n }, (_, i) => {
		const [r, c] = [Math.floor(i / n), i % n];
		let sum = 0;
		for (let j = 0; j < k; j++) sum += x.data[r * k + j] * official[c * k + j];
		if (bias) sum += b.data[c];
		if (gelu) sum = geluReference(sum);
		if (conds) sum *= table.data[conds[r] * stride + at + c];
		return add ? y.data[i] + sum : sum;
	});
	return maxError(out, expected);
}

test("the built-in choice fits into one dispatch, up to two million rows", async () => {
	const gpu = await sharedGpu();
	const most = 2 ** 21 - 32;
	for (const m of [1, 2, 3, 4, 8, 9, 17, 4096, 2 ** 20 - 17, 2 ** 20 - 1, 2 ** 20, most]) {
		const shape = { m, k: 64, n: 64 };
		expect(matmulTunable.fits?.(gpu, choose(gpu, matmulTunable, shape), shape), `${m} rows`).toBe(true);
	}
});

describe("matmul", () => {
	test.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 67])("m = %i, at odd and even numbers of columns", async (m) => {
		expect(await compare({ m, k: 36, n: 20 })).toBeLessThan(1e-5);
		expect(await compare({ m, k: 68, n: 72, bias: true })).toBeLessThan(1e-5);
	});

	test("many columns and a long sum", async () => {
		expect(await compare({ m: 5, k: 2048, n: 4 })).toBeLessThan(1e-4);
		expect(await compare({ m: 3, k: 4, n: 1100, bias: true })).toBeLessThan(1e-5);
	});

	test("variants: gelu, add, gate by the condition of each row", async () => {
		const gate = { tokens: [3, 1, 6], conds: [2, 0, 3] };
		for (const bias of [false, true]) {
			for (const gelu of [false, true]) {
				for (const add of [false, true]) {
					expect(await compare({ m: 10, k: 24, n: 28, bias, gelu, add })).toBeLessThan(1e-5);
					expect(await compare({ m: 10, k: 24, n: 32, bias, gelu, add, gate })).toBeLessThan(1e-5);
				}
			}
		}
	});

	test("gelu of large inputs stays finite", async () => {
		using bench = new Bench(gpu);
		const x = bench.put(new Float32Array([-1e4, -30, 30, 1e4]));
		const eye = bench.put(new Float32Array([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]));
		const y = bench.empty(4);
		const [out] = await bench.run(
			(pass) => matmul(pass, { x: x.tensor, weight: eye.tensor, y, m: 1, k: 4, n: 4, gelu: true, label: "gelu" }),
			y,
		);
		expect(maxError(out, [0, 0, 30, 1e4])).toBeLessThan(1e-3);
	});

	test("a row's bits do not depend on the rows beside it", async () => {
		for (const n of [20, 72]) {
			using bench = new Bench(gpu);
			const [m, k] = [19, 132];
			const x = bench.random(m, k);
			const weight = bench.random(k, n);
			const bias = bench.random(n);
			const batch = await product(bench, x.tensor, m);
			for (const [from, count] of [
				[0, 1],
				[3, 1],
				[17, 2],
				[5, 3],
				[8, 5],
				[1, 8],
				[2, 17],
			]) {
				const part = bench.put(x.data.slice(from * k, (from + count) * k));
				expect(words(await product(bench, part.tensor, count))).toEqual(
					words(batch.slice(from * n, (from + count) * n)),
				);
			}
			async function product(bench: Bench, x: Tensor, m: number): Promise<Float32Array<ArrayBuffer>> {
				const y = bench.empty(m, n);
				return (
					await bench.run(
						(pass) =>
							matmul(pass, { x, weight: weight.tensor, bias: bias.tensor, y, m, k, n, gelu: true, label: "rows" }),
						y,
					)
				)[0];
			}
		}
	});

	test("the gate of a row alone gives the bits of the batch", async () => {
		using bench = new Bench(gpu);
		const [m, k, n] = [11, 40, 24];
		const x = bench.random(m, k);
		const weight = bench.random(k, n);
		const before = bench.random(m, n);
		const table = bench.random(3, n);
		const gated = async (from: number, rows: Row[]) => {
			const count = rows.reduce((sum, { tokens }) => sum + tokens, 0);
			const part = bench.put(x.data.slice(from * k, (from + count) * k)).tensor;
			const y = bench.put(before.data.slice(from * n, (from + count) * n), [count, n]).tensor;
			const run = bench.run(
				(pass) =>
					matmul(pass, {
						x: part,
						weight: weight.tensor,
						y,
						m: count,
						k,
						n,
						add: true,
						gate: { table: table.tensor, stride: n, at: 0, rows: rowTable(pass, rows) },
						label: "gate",
					}),
				y,
			);
			return words((await run)[0]);
		};
		const batch = await gated(0, lay([4, 1, 6], [1, 2, 0]));
		expect(await gated(0, [row(0, 4, 1)])).toEqual(batch.slice(0, 4 * n));
		expect(await gated(4, [row(0, 1, 2)])).toEqual(batch.slice(4 * n, 5 * n));
		expect(await gated(5, [row(0, 6, 0)])).toEqual(batch.slice(5 * n));
	});

	test("refuses widths that are no multiples of 4", () => {
		using bench = new Bench(gpu);
		const t = bench.empty(64);
		for (const [k, n] of [
			[6, 8],
			[8, 6],
		])
			expect(() => matmul(gpu.pass("test"), { x: t, weight: t, y: t, m: 1, k, n, label: "odd" })).toThrow(
				/multiples of 4/,
			);
	});

	test.each([
		[1, 1],
		[130, 65],
		[64, 192],
	])("an official [%i, %i] is transposed, number by number, in f32 and f16 alike", (n, k) => {
		const official = Float32Array.from({ length: n * k }, (_, i) => (i % 2048) - 1000);
		const whole = transposeWeight(official, n, k);
		const wide = Math.ceil(n / 4) * 4;
		expect(whole).toHaveLength(wide * Math.ceil(k / 4) * 4);
		const expected = whole.map((_, i) =>
			i % wide < n && i < k * wide ? official[(i % wide) * k + Math.floor(i / wide)] : 0,
		);
		expect(whole).toEqual(expected);
		expect([...transposeHalves(new Float16Array(official), n, k)]).toEqual([...expected]);
	});

	test("transposeWeight pads columns and rows with zeros", () => {
		expect([...transposeWeight(new Float32Array([1, 2, 3, 4, 5, 6]), 3, 2)]).toEqual([
			...[1, 3, 5, 0],
			...[2, 4, 6, 0],
			...[0, 0, 0, 0],
			...[0, 0, 0, 0],
		]);
	});
});
