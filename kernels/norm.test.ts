import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Gpu } from "./gpu.ts";
import { layerNorm, rmsNorm } from "./norm.ts";
import { type Row, rowTable } from "./rows.ts";
import { Bench, maxError, words } from "./testing.ts";

let gpu: Gpu;
beforeAll(async () => {
	gpu = await Gpu.open();
});
afterAll(() => gpu.destroy());

const EPS = 1e-6;
const LENGTHS = [1, 7, 66, 3];
const CONDS = [2, 0, 1, 2];
function lay(lengths: number[], conds: number[]): Row[] {
	let at = 0;
	return lengths.map((tokens, i) => ({ token: (at += tokens) - tokens, tokens, cond: conds[i], rope: 0, key: 0, keys: 0, append: 0 }));
}
const ROWS = lay(LENGTHS, CONDS);
const TOKENS = 77;

function normalised(x: Float32Array, width: number, eps: number): Float64Array {
	const out = new Float64Array(x.length);
	for (let at = 0; at < x.length; at += width) {
		const token = x.subarray(at, at + width);
		const mean = token.reduce((a, b) => a + b, 0) / width;
		const variance = token.reduce((a, b) => a + (b - mean) ** 2, 0) / width;
		for (let c = 0; c < width; c++) out[at + c] = (token[c] - mean) / Math.sqrt(variance + eps);
	}
	return out;
}

describe("layerNorm", () => {
	test.each([[4, 1], [36, 1], [260, 1], [4, 64], [260, 64], [516, 64]] as const)("affine, %i channels, %i lanes a token", async (width, lanes) => {
		using bench = new Bench(gpu);
		const x = bench.random(TOKENS, width);
		const [weight, bias] = [bench.random(width), bench.random(width)];
		const y = bench.empty(TOKENS, width);
		const after = { kind: "affine", weight: weight.tensor, bias: bias.tensor } as const;
		const [out] = await bench.run((pass) => layerNorm(pass, { x: x.tensor, y, width, eps: EPS, rows: rowTable(pass, ROWS), after, lanes, label: "norm" }), y);
		const expected = normalised(x.data, width, EPS).map((n, i) => n * weight.data[i % width] + bias.data[i % width]);
		expect(maxError(out, expected)).toBeLessThan(2e-5);
	});

	test("a large mean costs no more precision than float32 holds", async () => {
		using bench = new Bench(gpu);
		const width = 64;
		const x = bench.put(bench.random(TOKENS, width).data.map((v) => v + 1000));
		const [weight, bias] = [bench.put(new Float32Array(width).fill(1)), bench.put(new Float32Array(width))];
		const y = bench.empty(TOKENS, width);
		const after = { kind: "affine", weight: weight.tensor, bias: bias.tensor } as const;
		const [out] = await bench.run((pass) => layerNorm(pass, { x: x.tensor, y, width, eps: EPS, rows: rowTable(pass, ROWS), after, label: "norm" }), y);
		expect(maxError(out, normalised(x.data, width, EPS))).toBeLessThan(2e-3);
	});

	test.each([1, 64] as const)("modulated by the condition of each row, and a row alone gives the bits of the batch; %i lanes a token", async (lanes) => {
		using bench = new Bench(gpu);
		const width = 44;
		const stride = 3 * width;
		const x = bench.random(TOKENS, width);
		const table = bench.random(3, stride);
		const modulate = async (from: number, rows: Row[]) => {
			const tokens = rows.reduce((sum, { tokens }) => sum + tokens, 0);
			const part = bench.put(x.data.slice(from * width, (from + tokens) * width));
			const y = bench.empty(tokens, width);
			const after = { kind: "modulate", table: table.tensor, stride, scale: 2 * width, shift: width } as const;
			const [out] = await bench.run((pass) => layerNorm(pass, { x: part.tensor, y, width, eps: EPS, rows: rowTable(pass, rows), after, lanes, label: "norm" }), y);
			return out;
		};
		const batch = await modulate(0, ROWS);
		const conds = LENGTHS.flatMap((tokens, i) => Array<number>(tokens).fill(CONDS[i]));
		const expected = normalised(x.data, width, EPS).map((n, i) => {
			const at = conds[Math.floor(i / width)] * stride + (i % width);
			return n * (1 + table.data[at + 2 * width]) + table.data[at + width];
		});
		expect(maxError(batch, expected)).toBeLessThan(2e-5);
		for (const row of ROWS) {
			const alone = await modulate(row.token, [{ ...row, token: 0 }]);
			expect(words(alone)).toEqual(words(batch.slice(row.token * width, (row.token + row.tokens) * width)));
		}
	});
});

test.each([4, 52])("rmsNorm, %i channels; a token alone gives the bits of the batch", async (width) => {
	using bench = new Bench(gpu);
	const tokens = 67;
	const x = bench.random(tokens, width);
	const weight = bench.random(width);
	const norm = async (from: number, count: number) => {
		const part = bench.put(x.data.slice(from * width, (from + count) * width));
		const y = bench.empty(count, width);
		return (await bench.run((pass) => rmsNorm(pass, { x: part.tensor, y, weight: weight.tensor, tokens: count, width, eps: EPS, label: "rms" }), y))[0];
	};
	const batch = await norm(0, tokens);
	const expected = Array.from(x.data, (v, i) => {
		const at = i - (i % width);
		const square = x.data.subarray(at, at + width).reduce((a, b) => a + b * b, 0) / width;
		return (v / Math.sqrt(square + EPS)) * weight.data[i % width];
	});
	expect(maxError(batch, expected)).toBeLessThan(2e-5);
	for (const from of [0, 40, 66]) expect(words(await norm(from, 1))).toEqual(words(batch.slice(from * width, (from + 1) * width)));
});
