import { describe, expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, maxError, words } from "../testing.ts";
import { NOWHERE, type Row, rowTable } from "../tokens/rows.ts";
import { infinityRopeTable, rotateAndCache, starRopeTable } from "./rope.ts";

const gpu = await sharedGpu();

const ROWS: Row[] = [
	{ token: 0, tokens: 2, cond: 0, rope: 3, key: 0, keys: 0, append: 40 },
	{ token: 2, tokens: 66, cond: 0, rope: 0, key: 0, keys: 0, append: 50 },
	{ token: 68, tokens: 1, cond: 0, rope: 65, key: 0, keys: 0, append: 0 },
	{ token: 69, tokens: 5, cond: 0, rope: 7, key: 0, keys: 0, append: NOWHERE },
];
const [TOKENS, POSITIONS, KEYS] = [74, 66, 120];

test.each([
	[1, 8],
	[3, 12],
])(
	"%i heads of %i: queries and keys rotated, keys and values stored in their places, nothing else touched",
	async (heads, headDim) => {
		using bench = new Bench(gpu);
		const width = heads * headDim;
		const half = headDim / 2;
		const qkv = bench.random(TOKENS, 3 * width).data;
		qkv.fill(0, 0, width); // A zero query stays zero.
		const before = bench.random(KEYS, 2 * width).data;
		const cosSin = bench.random(POSITIONS, headDim);
		// The last one is beyond ln 100 and is held there.
		const scaleMul = bench.put(Float32Array.from({ length: heads }, (_, h) => (h === heads - 1 ? 6 : h)));
		const run = async (rows: Row[], from: number) => {
			const tokens = rows.reduce((sum, { tokens }) => sum + tokens, 0);
			const x = bench.put(qkv.slice(from * 3 * width, (from + tokens) * 3 * width), [tokens, 3 * width]).tensor;
			const cache = bench.put(before.slice(), [KEYS, 2 * width]).tensor;
			return await bench.run(
				(pass) =>
					rotateAndCache(pass, {
						qkv: x,
						cache,
						cosSin: cosSin.tensor,
						scaleMul: scaleMul.tensor,
						heads,
						headDim,
						rows: rowTable(pass, rows),
						label: "rope",
					}),
				x,
				cache,
			);
		};
		const [rotated, cache] = await run(ROWS, 0);

		const expected = Float64Array.from(qkv);
		const expectedCache = Float64Array.from(before);
		const rotate = (from: number, to: Float64Array, at: number, position: number, scale: number) => {
			const norm = Math.max(Math.hypot(...qkv.subarray(from, from + headDim)), 1e-12);
			for (let m = 0; m < half; m++) {
				const [a, b] = [(qkv[from + 2 * m] * scale) / norm, (qkv[from + 2 * m + 1] * scale) / norm];
				const cos = cosSin.data[position * headDim + m];
				const sin = cosSin.data[position * headDim + half + m];
				to[at + 2 * m] = a * cos - b * sin;
				to[at + 2 * m + 1] = a * sin + b * cos;
			}
		};
		for (const row of ROWS) {
			for (let i = 0; i < row.tokens; i++) {
				const q = (row.token + i) * 3 * width;
				const key = (row.append + i) * 2 * width;
				for (let head = 0; head < heads; head++) {
					const at = head * headDim;
					rotate(q + at, expected, q + at, row.rope + i, Math.exp(Math.min(scaleMul.data[head], Math.log(100))));
					rotate(q + width + at, expected, q + width + at, row.rope + i, 1);
					if (row.append !== NOWHERE) rotate(q + width + at, expectedCache, key + at, row.rope + i, 1);
				}
				if (row.append !== NOWHERE) expectedCache.set(qkv.subarray(q + 2 * width, q + 3 * width), key + width);
			}
		}
		expect(maxError(rotated, expected)).toBeLessThan(2e-4);
		expect(maxError(cache, expectedCache)).toBeLessThan(1e-5);

		for (const row of ROWS) {
			const [alone, own] = await run([{ ...row, token: 0 }], row.token);
			expect(words(alone)).toEqual(words(rotated.slice(row.token * 3 * width, (row.token + row.tokens) * 3 * width)));
			const keys = row.append === NOWHERE ? [0, 0] : [row.append * 2 * width, (row.append + row.tokens) * 2 * width];
			expect(words(own.slice(...keys))).toEqual(words(cache.slice(...keys)));
		}
	},
);

test("by halves: pairs half a head apart, outputs by angles of their own, entries by condition", async () => {
	using bench = new Bench(gpu);
	const [heads, headDim, width, half, entries] = [2, 8, 16, 4, 5];
	const qkv = bench.random(TOKENS, 3 * width).data;
	const angles = bench.random(2 * entries, headDim);
	const places = bench.put(Uint32Array.from({ length: 2 * (POSITIONS + 8) }, (_, i) => (i * 7 + (i % 3)) % entries));
	const rows = ROWS.map((row, i) => ({ ...row, cond: i % 2, selected: i === 3 ? 1 : 0 }));
	const selected = bench.put(Uint32Array.of(4, 0, 60, 2, 2));
	const run = async (some: Row[], from: number) => {
		const tokens = some.reduce((sum, { tokens }) => sum + tokens, 0);
		const x = bench.put(qkv.slice(from * 3 * width, (from + tokens) * 3 * width), [tokens, 3 * width]).tensor;
		const cache = bench.empty(KEYS, 2 * width);
		const halves = { angles: angles.tensor, entries, places: places.tensor };
		return await bench.run(
			(pass) =>
				rotateAndCache(pass, {
					qkv: x,
					cache,
					halves,
					selected: selected.tensor,
					heads,
					headDim,
					rows: rowTable(pass, some),
					label: "rope",
				}),
			x,
			cache,
		);
	};
	const [rotated, cache] = await run(rows, 0);
	const expected = Float64Array.from(qkv);
	for (const row of rows) {
		for (let i = 0; i < row.tokens; i++) {
			const position = row.rope + (row.selected ? selected.data[i] : i);
			const angle = (which: number, m: number) =>
				angles.data[(row.cond * entries + places.data[2 * position + which]) * headDim + m];
			for (let head = 0; head < 2 * heads; head++) {
				const at = (row.token + i) * 3 * width + head * headDim;
				for (let m = 0; m < half; m++) {
					const [a, b] = [qkv[at + m], qkv[at + half + m]];
					expected[at + m] = a * angle(0, m) - b * angle(0, half + m);
					expected[at + half + m] = b * angle(1, m) + a * angle(1, half + m);
				}
			}
			const key = (row.append + i) * 2 * width;
			if (row.append !== NOWHERE)
				expect(
					maxError(
						cache.subarray(key, key + width),
						rotated.subarray((row.token + i) * 3 * width + width, (row.token + i) * 3 * width + 2 * width),
					),
				).toBe(0);
		}
	}
	expect(maxError(rotated, expected)).toBeLessThan(1e-6);
	for (const row of rows)
		expect(words((await run([{ ...row, token: 0 }], row.token))[0])).toEqual(
			words(rotated.slice(row.token * 3 * width, (row.token + row.tokens) * 3 * width)),
		);
});

test("rotateAndCache without a table rotates nothing, without a scale normalises nothing", async () => {
	using bench = new Bench(gpu);
	const [heads, headDim, width] = [2, 8, 16];
	const qkv = bench.random(TOKENS, 3 * width).data;
	const run = async (scaleMul?: Float32Array<ArrayBuffer>) => {
		const x = bench.put(qkv.slice(), [TOKENS, 3 * width]).tensor;
		const cache = bench.empty(KEYS, 2 * width);
		return await bench.run(
			(pass) =>
				rotateAndCache(pass, {
					qkv: x,
					cache,
					scaleMul: scaleMul && bench.put(scaleMul).tensor,
					heads,
					headDim,
					rows: rowTable(pass, ROWS),
					label: "cache",
				}),
			x,
			cache,
		);
	};
	const [same, cache] = await run();
	expect(same).toEqual(qkv);
	const [, normalised] = await run(Float32Array.of(1, 2));
	for (const row of ROWS.filter(({ append }) => append !== NOWHERE)) {
		for (let i = 0; i < row.tokens; i++) {
			const at = (row.token + i) * 3 * width;
			const key = (row.append + i) * 2 * width;
			expect(cache.slice(key, key + 2 * width)).toEqual(qkv.slice(at + width, at + 3 * width));
			const head = qkv.subarray(at + width, at + width + headDim);
			expect(
				maxError(
					normalised.slice(key, key + headDim),
					head.map((v) => v / Math.hypot(...head)),
				),
			).toBeLessThan(1e-6);
		}
	}
});

test("selected tokens turn by the positions they keep, the others one after the other", async () => {
	using bench = new Bench(gpu);
	const [heads, headDim, width] = [1, 8, 8];
	const rows: Row[] = [
		{ token: 0, tokens: 3, cond: 0, rope: 2, key: 0, keys: 0, append: 0 },
		{ token: 3, tokens: 4, cond: 0, rope: 5, key: 0, keys: 0, append: 3, selected: 1 + 6 },
	];
	const selected = bench.put(Uint32Array.of(9, 9, 9, 9, 9, 9, 7, 0, 3, 2)).tensor;
	const cosSin = bench.random(20, headDim).tensor;
	const scaleMul = bench.put(Float32Array.of(1)).tensor;
	const qkv = bench.random(7, 3 * width).data;
	const run = async (rows: Row[], selected?: typeof cosSin) => {
		const x = bench.put(qkv.slice(), [7, 3 * width]).tensor;
		return (
			await bench.run(
				(pass) =>
					rotateAndCache(pass, {
						qkv: x,
						cache: bench.empty(7, 2 * width),
						cosSin,
						selected,
						scaleMul,
						heads,
						headDim,
						rows: rowTable(pass, rows),
						label: "rope",
					}),
				x,
			)
		)[0];
	};
	const single = (token: number, rope: number): Row => ({
		token,
		tokens: 1,
		cond: 0,
		rope,
		key: 0,
		keys: 0,
		append: token,
	});
	const expected = await run([2, 3, 4, 5 + 7, 5, 5 + 3, 5 + 2].map((rope, token) => single(token, rope)));
	expect(words(await run(rows, selected))).toEqual(words(expected));
});

test("starRopeTable: columns turn the first half of the pairs, rows the second, each side over the reach", () => {
	const [headDim, reach, theta] = [16, 64, 10_000];
	const frequencies = [0, 1, 2, 3].map((m) => theta ** (-m / 4));
	const expected: number[] = [];
	for (const [height, width] of [
		[1, 1],
		[2, 3],
	]) {
		for (let y = 0; y < height; y++) {
			for (let x = 0; x < width; x++) {
				const places = [width > 1 ? (x * reach) / (width - 1) : 0, height > 1 ? (y * reach) / (height - 1) : 0];
				expected.push(...places.flatMap((place) => frequencies.map((f) => place * f)));
			}
		}
	}
	expect(
		maxError(
			starRopeTable(
				[
					[1, 1],
					[2, 3],
				],
				headDim,
				reach,
				theta,
			),
			[...expected.map(Math.cos), ...expected.map(Math.sin)],
		),
	).toBeLessThan(1e-6);
});

describe("infinityRopeTable", () => {
	const grids = [
		[1, 1],
		[2, 3],
		[4, 2],
	] as const;
	const [headDim, reach] = [16, [4, 6]] as const;
	const half = headDim / 2;
	const table = infinityRopeTable(grids, headDim, reach);
	const positions = 1 + 6 + 8;

	test("cosines, then sines, of every position of every grid", () => {
		expect(table.length).toBe(2 * positions * half);
		for (let i = 0; i < positions * half; i++)
			expect(table[i] ** 2 + table[positions * half + i] ** 2).toBeCloseTo(1, 6);
	});

	test("rows spread over the reach turn the first half, columns the second", () => {
		const frequencies = [0, 2, 4, 6].map((c) => 1 / 10000 ** (c / 8));
		const angles: number[] = [];
		for (const [height, width] of grids) {
			for (let y = 0; y < height; y++) {
				for (let x = 0; x < width; x++) {
					angles.push(
						...frequencies.map((f) => ((y * reach[0]) / height) * f),
						...frequencies.map((f) => ((x * reach[1]) / width) * f),
					);
				}
			}
		}
		expect(maxError(table, [...angles.map(Math.cos), ...angles.map(Math.sin)])).toBeLessThan(1e-6);
	});

	test("a position half-way goes to the even neighbour, as torch.round", () => {
		// 0, 2.5, 5, 7.5 of 4 rows over 10, and 0, 1.5 of 2 columns over 3.
		const own = infinityRopeTable([[4, 2]], 4, [10, 3]);
		const rows = [0, 2, 5, 8];
		const columns = [0, 2];
		expect(
			maxError(
				own.subarray(0, 16),
				rows.flatMap((y) => columns.flatMap((x) => [Math.cos(y), Math.cos(x)])),
			),
		).toBeLessThan(1e-6);
	});
});
