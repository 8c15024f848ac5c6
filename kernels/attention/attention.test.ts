import { describe, expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { available } from "../gpu/variants.ts";
import { Bench, maxError, words } from "../testing.ts";
import { type Row, rowTable } from "../tokens/rows.ts";
import { attention, attentionVariants } from "./attention.ts";

const gpu = await sharedGpu();

const KEYS = 150;
/** Ragged rows whose key ranges start anywhere and overlap: one key, an odd number, all. */
const ROWS: Row[] = [
	{ token: 0, tokens: 3, cond: 0, rope: 0, key: 5, keys: 1, append: 0 },
	{ token: 3, tokens: 65, cond: 0, rope: 0, key: 11, keys: 37, append: 0 },
	{ token: 68, tokens: 1, cond: 0, rope: 0, key: 0, keys: KEYS, append: 0 },
	{ token: 69, tokens: 9, cond: 0, rope: 0, key: 140, keys: 10, append: 0 },
	{ token: 78, tokens: 4, cond: 0, rope: 0, key: 2, keys: 6, append: 0 },
];
const TOKENS = 82;
/** The same with a row that has nothing cached yet. */
const OWN_ROWS = ROWS.map((row, i) => (i === 4 ? { ...row, keys: 0 } : row));

interface Setup {
	heads: number;
	headDim: number;
	scale: number;
	/** Multiplies the queries: large ones make one key win. */
	sharp?: number;
	/** The row's own tokens are keys too. */
	own: boolean;
}

async function compare({ heads, headDim, scale, sharp = 1, own }: Setup): Promise<number> {
	using bench = new Bench(gpu);
	const width = heads * headDim;
	const qStride = 3 * width;
	const stride = 2 * width + 4;
	const [key, value] = [width + 4, 0];
	const q = bench.put(bench.random(TOKENS, qStride).data.map((v) => v * sharp));
	const kv = bench.random(KEYS, stride);
	const ragged = own ? OWN_ROWS : ROWS;
	const run = async (from: number, rows: Row[]) => {
		const tokens = rows.reduce((sum, { tokens }) => sum + tokens, 0);
		const part = bench.put(q.data.slice(from * qStride, (from + tokens) * qStride));
		const y = bench.empty(tokens, width);
		const [out] = await bench.run(
			(pass) =>
				attention(pass, {
					q: part.tensor,
					qStride,
					kv: { tensor: kv.tensor, stride, key, value },
					y,
					heads,
					headDim,
					scale,
					own: own ? { key: width, value: 2 * width } : undefined,
					rows: rowTable(pass, rows),
					label: "attention",
				}),
			y,
		);
		return out;
	};
	const batch = await run(0, ragged);
	for (const row of ragged) {
		const alone = await run(row.token, [{ ...row, token: 0 }]);
		expect(words(alone)).toEqual(words(batch.slice(row.token * width, (row.token + row.tokens) * width)));
	}
	const expected = new Float64Array(TOKENS * width);
	for (const row of ragged) {
		for (let t = row.token; t < row.token + row.tokens; t++) {
			for (let head = 0; head < width; head += headDim) {
				// A key's vectors: [its data, where its key begins, where its value begins].
				const keys = Array.from({ length: row.keys }, (_, i): [Float32Array, number, number] => [
					kv.data,
					(row.key + i) * stride + key + head,
					(row.key + i) * stride + value + head,
				]);
				for (let i = row.token; own && i < row.token + row.tokens; i++)
					keys.push([q.data, i * qStride + width + head, i * qStride + 2 * width + head]);
				const scores = keys.map(([data, at]) => {
					let dot = 0;
					for (let c = 0; c < headDim; c++) dot += q.data[t * qStride + head + c] * data[at + c];
					return dot * scale;
				});
				const top = Math.max(...scores);
				const weights = scores.map((score) => Math.exp(score - top));
				const total = weights.reduce((a, b) => a + b, 0);
				keys.forEach(([data, , at], i) => {
					for (let c = 0; c < headDim; c++) expected[t * width + head + c] += (weights[i] / total) * data[at + c];
				});
			}
		}
	}
	return maxError(batch, expected);
}

describe("attention over ragged rows, each alone giving the bits of the batch", () => {
	test.each<Setup>([
		{ heads: 1, headDim: 4, scale: 1, own: false },
		{ heads: 3, headDim: 12, scale: 0.3, own: false },
		{ heads: 2, headDim: 64, scale: 0.125, own: false },
		{ heads: 3, headDim: 12, scale: 0.3, own: true },
		{ heads: 2, headDim: 32, scale: 0.2, own: true },
	])("$heads heads of $headDim, own tokens as keys: $own", async (setup) => {
		expect(await compare(setup)).toBeLessThan(1e-5);
	});

	test("every variant gives the same bits", async () => {
		using bench = new Bench(gpu);
		const [heads, headDim] = [2, 32];
		const width = heads * headDim;
		const q = bench.random(TOKENS, 3 * width);
		const own = { key: width, value: 2 * width };
		const kv = { tensor: bench.random(KEYS, 2 * width).tensor, stride: 2 * width, key: 0, value: width };
		const outputs = [];
		for (const variant of attentionVariants.filter((variant) => available(gpu, variant))) {
			const y = bench.empty(TOKENS, width);
			outputs.push(
				words(
					(
						await bench.run(
							(pass) =>
								attention(pass, {
									q: q.tensor,
									qStride: 3 * width,
									kv,
									own,
									y,
									heads,
									headDim,
									scale: 0.2,
									rows: rowTable(pass, ROWS),
									label: variant.name,
									variant,
								}),
							y,
						)
					)[0],
				),
			);
		}
		expect(outputs.length).toBeGreaterThan(0);
		for (const output of outputs) expect(output).toEqual(outputs[0]);
	});

	test("scores far apart, and far from zero", async () => {
		expect(await compare({ heads: 2, headDim: 8, scale: 1, sharp: 40, own: false })).toBeLessThan(1e-4);
	});

	test("refuses a head dimension that is no multiple of 4", () => {
		using bench = new Bench(gpu);
		const t = bench.empty(64);
		const pass = gpu.pass("test");
		const rows = rowTable(pass, [{ ...ROWS[0] }]);
		expect(() =>
			attention(pass, {
				q: t,
				qStride: 6,
				kv: { tensor: t, stride: 12, key: 0, value: 6 },
				y: t,
				heads: 1,
				headDim: 6,
				scale: 1,
				rows,
				label: "odd",
			}),
		).toThrow(/multiple of 4/);
	});
});
