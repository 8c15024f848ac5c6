import { describe, expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, maxError, randomFloats, words } from "../testing.ts";
import { sampleCategories } from "./categories.ts";
import { PURPOSE, philox } from "./random.ts";
import type { SampleRow } from "./row.ts";

const gpu = await sharedGpu();

const PLAIN: Omit<SampleRow, "cond" | "uncond" | "tokens" | "out"> = {
	guidance: 1,
	tau: 1,
	topK: 0,
	topP: 0,
	seed: 7,
	scale: 3,
};

async function sample(logits: Float32Array<ArrayBuffer>, vocabulary: number, rows: SampleRow[]) {
	using bench = new Bench(gpu);
	const x = bench.put(logits).tensor;
	const tokens = Math.max(...rows.map((row) => row.out + row.tokens));
	const mixed = bench.empty(tokens, vocabulary);
	const codes = bench.empty(tokens);
	const [a, b] = await bench.run(
		(pass) => sampleCategories(pass, { logits: x, mixed, codes, vocabulary, rows, label: "sample" }),
		mixed,
		codes,
	);
	return { mixed: a, codes: [...words(b)] };
}

/** The official rule by sorting, in f64. `sure` is false where rounding could decide otherwise. */
function reference(logits: Float32Array, vocabulary: number, row: SampleRow, token: number) {
	const at = (first: number, value: number) => logits[(first + token) * vocabulary + value] / row.tau;
	const mixed = Array.from({ length: vocabulary }, (_, v) =>
		row.cond === row.uncond
			? at(row.uncond, v)
			: row.guidance * at(row.cond, v) + (1 - row.guidance) * at(row.uncond, v),
	);
	const order = mixed.map((_, v) => v).sort((a, b) => mixed[a] - mixed[b]);
	let kept = order.slice(row.topK > 0 ? -row.topK : 0);
	const top = mixed[order[order.length - 1]];
	const weight = (v: number) => Math.exp(mixed[v] - top);
	let sure =
		row.topK === 0 || row.topK >= vocabulary || mixed[kept[0]] - mixed[order[order.length - kept.length - 1]] > 1e-5;
	if (row.topP > 0) {
		const total = kept.reduce((sum, v) => sum + weight(v), 0);
		let mass = 0;
		const dropped = kept.slice(0, -1).filter((v) => {
			mass += weight(v) / total;
			sure &&= Math.abs(mass - (1 - row.topP)) > 1e-6;
			return mass <= 1 - row.topP;
		});
		kept = kept.slice(dropped.length);
	}
	kept.sort((a, b) => a - b);
	const total = kept.reduce((sum, v) => sum + weight(v), 0);
	const draw = (((philox([token, 0, row.scale, PURPOSE.codes], [row.seed, 0])[0] >>> 9) + 0.5) / 2 ** 23) * total;
	let before = 0;
	let code = -1;
	for (const v of kept) {
		sure &&= Math.abs(before - draw) > 1e-5 * total;
		before += weight(v);
		if (code === -1 && before > draw) code = v;
	}
	return { mixed, kept, code, sure };
}

async function compare(vocabulary: number, rows: SampleRow[], tokens: number): Promise<void> {
	const logits = randomFloats(tokens * vocabulary, 5).map((v) => v * 4);
	const { mixed, codes } = await sample(logits, vocabulary, rows);
	let compared = 0;
	for (const row of rows) {
		for (let token = 0; token < row.tokens; token++) {
			const expected = reference(logits, vocabulary, row, token);
			const at = row.out + token;
			expect(maxError(mixed.slice(at * vocabulary, (at + 1) * vocabulary), expected.mixed)).toBeLessThan(1e-4);
			if (!expected.sure) continue;
			expect(codes[at]).toBe(expected.code);
			compared++;
		}
	}
	expect(compared).toBeGreaterThan(0.8 * rows.reduce((sum, row) => sum + row.tokens, 0));
}

describe("sampleCategories", () => {
	test.each([2, 64, 100, 256, 4096])(
		"%i values: one row and two with guidance, ragged, in one batch",
		async (vocabulary) => {
			await compare(
				vocabulary,
				[
					{ ...PLAIN, cond: 0, uncond: 3, tokens: 3, out: 5, guidance: 3, tau: 0.5 },
					{ ...PLAIN, cond: 6, uncond: 6, tokens: 5, out: 0, guidance: 3, seed: 8 },
					{ ...PLAIN, cond: 12, uncond: 11, tokens: 1, out: 8, guidance: 0.5, tau: 2, scale: 0 },
				],
				13,
			);
		},
	);

	test.each([
		[1, 0],
		[2, 0],
		[7, 0],
		[99, 0],
		[100, 0],
		[600, 0],
		[0, 0.05],
		[0, 0.5],
		[0, 0.96],
		[0, 1],
		[20, 0.7],
		[1, 0.5],
	])("top-k %i, top-p %f", async (topK, topP) => {
		await compare(100, [{ ...PLAIN, cond: 0, uncond: 0, tokens: 30, out: 0, topK, topP }], 30);
	});

	test("draws as often as the rule says, and nothing that it drops", async () => {
		const [vocabulary, tokens] = [8, 800];
		const logits = Float32Array.from(
			{ length: vocabulary * tokens },
			(_, i) => [0, 2, -1, 1, 2.5, -3, 0.5, 1.5][i % vocabulary],
		);
		for (const own of [{}, { topK: 3 }, { topP: 0.6 }]) {
			const row = { ...PLAIN, ...own, cond: 0, uncond: 0, tokens, out: 0 };
			const { codes } = await sample(logits, vocabulary, [row]);
			const { mixed, kept } = reference(logits, vocabulary, row, 0);
			const total = kept.reduce((sum, v) => sum + Math.exp(mixed[v]), 0);
			for (let v = 0; v < vocabulary; v++) {
				const share = kept.includes(v) ? Math.exp(mixed[v]) / total : 0;
				const drawn = codes.filter((code) => code === v).length / tokens;
				expect(Math.abs(drawn - share)).toBeLessThanOrEqual(4.5 * Math.sqrt((share * (1 - share)) / tokens));
			}
		}
	});

	test("logits far apart, and values that tie", async () => {
		const logits = Float32Array.from({ length: 64 }, (_, i) => (i === 41 ? 300 : -300));
		expect((await sample(logits, 64, [{ ...PLAIN, cond: 0, uncond: 0, tokens: 1, out: 0 }])).codes).toEqual([41]);
		const tied = Float32Array.from({ length: 64 * 200 }, (_, i) => (i % 64 === 3 || i % 64 === 60 ? 1 : 0));
		const { codes } = await sample(tied, 64, [{ ...PLAIN, cond: 0, uncond: 0, tokens: 200, out: 0, topK: 1 }]);
		expect(new Set(codes)).toEqual(new Set([3, 60]));
	});

	test("what a row draws depends neither on its place in the batch nor on the rows beside it", async () => {
		const [vocabulary, tokens] = [100, 6];
		const own = randomFloats(2 * tokens * vocabulary, 11).map((v) => v * 3);
		const row = { ...PLAIN, tokens, guidance: 3, topK: 40, topP: 0.97 };
		const alone = await sample(own, vocabulary, [{ ...row, cond: 0, uncond: tokens, out: 0 }]);
		const other = randomFloats(9 * vocabulary, 12);
		const logits = new Float32Array([
			...other,
			...own.subarray(tokens * vocabulary),
			...own.subarray(0, tokens * vocabulary),
		]);
		const batch = await sample(logits, vocabulary, [
			{ ...PLAIN, cond: 0, uncond: 0, tokens: 9, out: tokens, seed: 1 },
			{ ...row, cond: 15, uncond: 9, out: 0 },
		]);
		expect(batch.codes.slice(0, tokens)).toEqual(alone.codes);
		expect(words(batch.mixed.slice(0, tokens * vocabulary))).toEqual(words(alone.mixed));
	});

	test("another seed or scale draws others", async () => {
		const [vocabulary, tokens] = [64, 8];
		const row = { ...PLAIN, cond: 0, uncond: 0, tokens };
		const changes: Partial<SampleRow>[] = [{}, { seed: 8 }, { scale: 4 }];
		const { codes } = await sample(
			new Float32Array(tokens * vocabulary),
			vocabulary,
			changes.map((change, i) => ({ ...row, ...change, out: i * tokens })),
		);
		expect(new Set(changes.map((_, i) => codes.slice(i * tokens, (i + 1) * tokens).join())).size).toBe(changes.length);
	});
});
