import { describe, expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { PURPOSE, philox } from "../sample/random.ts";
import { Bench, maxError, words } from "../testing.ts";
import { drawPositions, drawProjection, farthestPositions, project, type ReduceRow, squaredNorms } from "./project.ts";

const gpu = await sharedGpu();

/**
 * Rows of different lengths with different counts, one reduced to a token and one kept whole; their outputs lie in
 * another order.
 */
const ROWS: ReduceRow[] = [
	{ token: 0, tokens: 7, out: 13, count: 3, draw: 5, seed: 1, scale: 2, stream: 0, columns: 7 },
	{ token: 7, tokens: 70, out: 0, count: 11, draw: 26, seed: 2, scale: 2, stream: 1, columns: 10 },
	{ token: 77, tokens: 5, out: 16, count: 5, draw: 800, seed: 1, scale: 3, stream: 0, columns: 1 },
	{ token: 82, tokens: 9, out: 12, count: 1, draw: 830, seed: 3, scale: 0, stream: 0, columns: 3 },
];
const [TOKENS, OUT, MATRIX] = [91, 21, 840];
/** The same rows, with their positions in a table of their own. */
const PICKED = ROWS.map((row) => ({ ...row, draw: row.out + 3 }));
const alone = (row: ReduceRow): ReduceRow => ({ ...row, token: 0, out: 0, draw: 0 });
const uniform = (bits: number) => ((bits >>> 9) + 0.5) / 2 ** 23;

describe("drawProjection", () => {
	const draw = async (rows: ReduceRow[], size: number) => {
		using bench = new Bench(gpu);
		const matrices = bench.empty(size);
		return (await bench.run((pass) => drawProjection(pass, { matrices, rows, label: "projection" }), matrices))[0];
	};

	test("the named normals of every row, and nothing outside of its matrix", async () => {
		const out = await draw(ROWS, MATRIX);
		const expected = new Float64Array(MATRIX);
		for (const { tokens, count, draw, seed, scale, stream } of ROWS) {
			for (let i = 0; i < tokens * count; i++) {
				const [a, b] = philox([Math.floor(i / count), i % count, scale, PURPOSE.projection], [seed, stream]).map(
					uniform,
				);
				expected[draw + i] = (Math.sqrt(-2 * Math.log(a)) * Math.cos(2 * Math.PI * b)) / Math.sqrt(count);
			}
		}
		expect(maxError(out, expected)).toBeLessThan(1e-3);
		for (const row of ROWS) {
			expect(words(await draw([alone(row)], row.tokens * row.count))).toEqual(
				words(out.slice(row.draw, row.draw + row.tokens * row.count)),
			);
		}
	});

	test("mean 0, variance 1 / count, no correlation of neighbours, and the kurtosis of a normal", async () => {
		const [tokens, count] = [400, 50];
		const values = Array.from(
			await draw([{ ...ROWS[0], tokens, count, draw: 0 }], tokens * count),
			(v) => v * Math.sqrt(count),
		);
		const n = values.length;
		const mean = (f: (v: number, i: number) => number) => values.reduce((sum, v, i) => sum + f(v, i), 0) / n;
		// Four standard errors of each.
		expect(Math.abs(mean((v) => v))).toBeLessThan(4 / Math.sqrt(n));
		expect(Math.abs(mean((v) => v * v) - 1)).toBeLessThan(4 * Math.sqrt(2 / n));
		expect(Math.abs(mean((v) => v ** 4) - 3)).toBeLessThan(4 * Math.sqrt(96 / n));
		expect(Math.abs(mean((v, i) => v * values[(i + 1) % n]))).toBeLessThan(4 / Math.sqrt(n));
		expect(Math.abs(mean((v, i) => v * values[(i + count) % n]))).toBeLessThan(4 / Math.sqrt(n));
	});
});

test.each([4, 20, 132])("project, width %i: by row, and a row alone gives the bits of the batch", async (width) => {
	using bench = new Bench(gpu);
	const x = bench.random(TOKENS, width);
	const matrices = bench.random(MATRIX);
	const run = async (
		x: Float32Array<ArrayBuffer>,
		matrices: Float32Array<ArrayBuffer>,
		rows: ReduceRow[],
		out: number,
	) => {
		const [a, b] = [bench.put(x).tensor, bench.put(matrices).tensor];
		const y = bench.empty(out, width);
		return (await bench.run((pass) => project(pass, { x: a, matrices: b, y, width, rows, label: "project" }), y))[0];
	};
	const batch = await run(x.data, matrices.data, ROWS, OUT);
	const expected = new Float64Array(OUT * width);
	for (const { token, tokens, out, count, draw } of ROWS) {
		for (let t = 0; t < tokens; t++) {
			for (let k = 0; k < count; k++) {
				for (let c = 0; c < width; c++)
					expected[(out + k) * width + c] += matrices.data[draw + t * count + k] * x.data[(token + t) * width + c];
			}
		}
	}
	expect(maxError(batch, expected)).toBeLessThan(1e-5);
	for (const row of ROWS) {
		const { token, tokens, out, count, draw } = row;
		const own = await run(
			x.data.slice(token * width, (token + tokens) * width),
			matrices.data.slice(draw, draw + tokens * count),
			[alone(row)],
			count,
		);
		expect(words(own)).toEqual(words(batch.slice(out * width, (out + count) * width)));
	}
});

test.each([4, 36])("squaredNorms, width %i", async (width) => {
	using bench = new Bench(gpu);
	const x = bench.random(TOKENS, width);
	const norms = bench.empty(TOKENS);
	const [out] = await bench.run(
		(pass) => squaredNorms(pass, { x: x.tensor, norms, tokens: TOKENS, width, label: "norms" }),
		norms,
	);
	expect(
		maxError(
			out,
			Array.from({ length: TOKENS }, (_, t) =>
				x.data.subarray(t * width, (t + 1) * width).reduce((sum, v) => sum + v * v, 0),
			),
		),
	).toBeLessThan(1e-5);
});

describe("drawPositions", () => {
	const draw = async (norms: Float32Array<ArrayBuffer>, rows: ReduceRow[], out: number) => {
		using bench = new Bench(gpu);
		const weights = bench.put(norms).tensor;
		const keys = bench.empty(norms.length);
		const positions = bench.empty(out);
		return words(
			(
				await bench.run(
					(pass) => drawPositions(pass, { norms: weights, keys, positions, rows, label: "positions" }),
					positions,
				)
			)[0],
		);
	};

	test("of every row `count` different positions of its own, whatever the rows beside it", async () => {
		const norms = new Float32Array(TOKENS).map((_, i) => 0.1 + (i % 7));
		const batch = await draw(norms, PICKED, OUT + 3);
		for (const row of PICKED) {
			const own = batch.slice(row.draw, row.draw + row.count);
			expect(new Set(own).size).toBe(row.count);
			expect(Math.max(...own)).toBeLessThan(row.tokens);
			expect(await draw(norms.slice(row.token, row.token + row.tokens), [alone(row)], row.count)).toEqual(own);
		}
		// The row that is kept whole has them all.
		expect([...batch.slice(19, 24)].sort()).toEqual([0, 1, 2, 3, 4]);
	});

	test("first draws go by the norms, second draws by what is left", async () => {
		const norms = [1, 2, 0, 5, 8];
		const [total, rows, count] = [16, 4000, 2];
		const batch: ReduceRow[] = Array.from({ length: rows }, (_, i) => ({
			token: i * 5,
			tokens: 5,
			out: 0,
			count,
			draw: i * count,
			seed: i,
			scale: 1,
			stream: 0,
			columns: 5,
		}));
		const out = await draw(
			Float32Array.from({ length: rows * 5 }, (_, i) => norms[i % 5]),
			batch,
			rows * count,
		);
		const first = [0, 0, 0, 0, 0];
		const second = [0, 0, 0, 0, 0];
		for (let i = 0; i < rows; i++) {
			first[out[2 * i]]++;
			second[out[2 * i + 1]]++;
		}
		norms.forEach((norm, i) => {
			const p = norm / total;
			const q = norms.reduce((sum, other, j) => (j === i ? sum : sum + (other / total) * (norm / (total - other))), 0);
			expect(Math.abs(first[i] / rows - p)).toBeLessThan(4 * Math.sqrt((p * (1 - p)) / rows) + 1e-9);
			expect(Math.abs(second[i] / rows - q)).toBeLessThan(4 * Math.sqrt((q * (1 - q)) / rows) + 1e-9);
		});
	});

	test("norms of 0 are drawn last, and may all be 0", async () => {
		const row = { ...alone(ROWS[0]), tokens: 6 };
		expect(new Set(await draw(new Float32Array([0, 3, 0, 2, 1, 0]), [{ ...row, count: 3 }], 3))).toEqual(
			new Set([1, 3, 4]),
		);
		expect(new Set(await draw(new Float32Array(6), [{ ...row, count: 6 }], 6)).size).toBe(6);
	});
});

/** Mean of the tokens named, and the squared distance of one from it. */
function distance(x: Float32Array, width: number, token: number, of: readonly number[]): number {
	let sum = 0;
	for (let c = 0; c < width; c++) {
		const mean = of.reduce((total, t) => total + x[t * width + c], 0) / of.length;
		sum += (x[token * width + c] - mean) ** 2;
	}
	return sum;
}

/** A token of a row, itself and those beside it on the row's grid. */
function around({ token, tokens, columns }: ReduceRow, t: number): number[] {
	const near = (other: number) =>
		Math.abs(Math.floor(other / columns) - Math.floor(t / columns)) <= 1 &&
		Math.abs((other % columns) - (t % columns)) <= 1;
	return Array.from({ length: tokens }, (_, other) => other)
		.filter(near)
		.map((other) => token + other);
}

describe("farthestPositions", () => {
	test.each(["mean", "neighbours"] as const)(
		"from the %s: those of every row, farthest first, whatever the rows beside it",
		async (from) => {
			using bench = new Bench(gpu);
			const width = 20;
			const x = bench.random(TOKENS, width);
			const find = async (rows: readonly ReduceRow[], first: number, tokens: number) => {
				const part = bench.put(x.data.slice(first * width, (first + tokens) * width)).tensor;
				const positions = bench.put(new Uint32Array(MATRIX).fill(999)).tensor;
				const [means, keys] = [bench.empty(rows.length, width), bench.empty(tokens)];
				return words(
					(
						await bench.run(
							(pass) =>
								farthestPositions(pass, { x: part, from, means, keys, positions, width, rows, label: "farthest" }),
							positions,
						)
					)[0],
				);
			};
			const batch = await find(ROWS, 0, TOKENS);
			for (const row of ROWS) {
				const all = Array.from({ length: row.tokens }, (_, t) => row.token + t);
				const distances = all.map((token, t) => distance(x.data, width, token, from === "mean" ? all : around(row, t)));
				const expected = distances
					.map((_, t) => t)
					.sort((a, b) => distances[b] - distances[a] || a - b)
					.slice(0, row.count);
				expect([...batch.subarray(row.draw, row.draw + row.count)]).toEqual(expected);
				expect([...(await find([alone(row)], row.token, row.tokens)).subarray(0, row.count)]).toEqual(expected);
			}
			expect(batch.filter((position) => position !== 999)).toHaveLength(
				ROWS.reduce((sum, { count }) => sum + count, 0),
			);
		},
	);
});
