import { describe, expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, maxError, randomFloats, words } from "../testing.ts";
import { codeValues, sampleBits } from "./bits.ts";
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

async function sample(
	logits: Float32Array<ArrayBuffer>,
	bits: number,
	rows: SampleRow[],
): Promise<{ mixed: Float32Array<ArrayBuffer>; codes: Uint32Array }> {
	using bench = new Bench(gpu);
	const x = bench.put(logits).tensor;
	const tokens = Math.max(...rows.map((row) => row.out + row.tokens));
	const mixed = bench.empty(tokens, 2 * bits);
	const codes = bench.empty(tokens, Math.ceil(bits / 32));
	const [a, b] = await bench.run(
		(pass) => sampleBits(pass, { logits: x, mixed, codes, bits, rows, label: "sample" }),
		mixed,
		codes,
	);
	return { mixed: a, codes: words(b) };
}
const bitOf = (codes: Uint32Array, bits: number, token: number, b: number) =>
	(codes[token * Math.ceil(bits / 32) + (b >> 5)] >>> (b & 31)) & 1;

/** The rule in f64; `sure` is false where rounding could decide otherwise. */
function reference(logits: Float32Array, bits: number, row: SampleRow, token: number, b: number) {
	const at = (first: number, value: number) => logits[((first + token) * bits + b) * 2 + value] / row.tau;
	const pair = [0, 1].map((value) =>
		row.cond === row.uncond
			? at(row.uncond, value)
			: row.guidance * at(row.cond, value) + (1 - row.guidance) * at(row.uncond, value),
	);
	let one = 1 / (1 + Math.exp(pair[0] - pair[1]));
	let sure = true;
	if (row.topK === 1) {
		one = pair[1] > pair[0] ? 1 : 0;
		sure = Math.abs(pair[0] - pair[1]) > 1e-5;
	} else if (row.topP > 0) {
		const most = Math.max(one, 1 - one);
		sure = Math.abs(most - row.topP) > 1e-5 && Math.abs(one - 0.5) > 1e-5;
		if (most >= row.topP) one = one >= 0.5 ? 1 : 0;
	}
	const draw = ((philox([token, b, row.scale, PURPOSE.bits], [row.seed, 0])[0] >>> 9) + 0.5) / 2 ** 23;
	return { pair, bit: draw < one ? 1 : 0, sure: sure && Math.abs(draw - one) > 1e-5 };
}

async function compare(bits: number, rows: SampleRow[], tokens: number): Promise<void> {
	const logits = randomFloats(tokens * bits * 2, 5).map((v) => v * 4);
	const { mixed, codes } = await sample(logits, bits, rows);
	let compared = 0;
	for (const row of rows) {
		for (let token = 0; token < row.tokens; token++) {
			for (let b = 0; b < bits; b++) {
				const { pair, bit, sure } = reference(logits, bits, row, token, b);
				expect(
					maxError(mixed.slice(((row.out + token) * bits + b) * 2, ((row.out + token) * bits + b) * 2 + 2), pair),
				).toBeLessThan(1e-4);
				if (sure) expect(bitOf(codes, bits, row.out + token, b)).toBe(bit);
				compared += sure ? 1 : 0;
			}
		}
	}
	expect(compared).toBeGreaterThan(0.98 * bits * rows.reduce((sum, row) => sum + row.tokens, 0));
}

describe("sampleBits", () => {
	test.each([1, 18, 32, 33, 48, 64, 70])(
		"%i bits: one row and two with guidance, ragged, in one batch",
		async (bits) => {
			await compare(
				bits,
				[
					{ ...PLAIN, cond: 0, uncond: 3, tokens: 3, out: 5, guidance: 3, tau: 0.5 },
					{ ...PLAIN, cond: 6, uncond: 6, tokens: 5, out: 0, guidance: 3, seed: 8 },
					{ ...PLAIN, cond: 12, uncond: 11, tokens: 1, out: 8, guidance: 0.5, tau: 2, scale: 0 },
				],
				13,
			);
		},
	);

	test("more tokens than a workgroup, and a large seed", async () => {
		await compare(18, [{ ...PLAIN, cond: 0, uncond: 70, tokens: 70, out: 0, guidance: 4, seed: 0xfffffffe }], 140);
	});

	test.each([1, 0, 2])("top-k %i", async (topK) => {
		await compare(40, [{ ...PLAIN, cond: 0, uncond: 0, tokens: 30, out: 0, topK }], 30);
	});

	test.each([0.5, 0.8, 0.97, 1])("top-p %f", async (topP) => {
		await compare(40, [{ ...PLAIN, cond: 0, uncond: 0, tokens: 30, out: 0, topP }], 30);
	});

	test("top-k 2 and top-p 0 keep both values, top-k 1 and a small top-p the likelier", async () => {
		const [bits, tokens] = [33, 60];
		const logits = Float32Array.from({ length: tokens * bits * 2 }, (_, i) => (i % 2 ? 0.4 : 0));
		const row = { ...PLAIN, cond: 0, uncond: 0, tokens, out: 0 };
		const share = async (own: Partial<SampleRow>) => {
			const { codes } = await sample(logits, bits, [{ ...row, ...own }]);
			let ones = 0;
			for (let token = 0; token < tokens; token++) for (let b = 0; b < bits; b++) ones += bitOf(codes, bits, token, b);
			return ones / tokens / bits;
		};
		const likely = 1 / (1 + Math.exp(-0.4)); // 0.599
		const within = 4 * Math.sqrt((likely * (1 - likely)) / tokens / bits);
		for (const own of [{}, { topK: 2 }, { topP: 0.61 }])
			expect(Math.abs((await share(own)) - likely)).toBeLessThan(within);
		for (const own of [{ topK: 1 }, { topP: 0.59 }]) expect(await share(own)).toBe(1);
	});

	test("logits far apart decide for certain", async () => {
		const bits = 32;
		const logits = Float32Array.from({ length: 64 * bits * 2 }, (_, i) => (i % 4 === 1 || i % 4 === 2 ? 300 : -300));
		const { codes } = await sample(logits, bits, [{ ...PLAIN, cond: 0, uncond: 0, tokens: 64, out: 0 }]);
		expect(new Set(codes)).toEqual(new Set([0x55555555]));
	});

	test("what a row draws depends neither on its place in the batch nor on the rows beside it", async () => {
		const [bits, tokens] = [40, 6];
		const own = randomFloats(2 * tokens * bits * 2, 11).map((v) => v * 3);
		const row = { ...PLAIN, tokens, guidance: 3, topP: 0.97 };
		const alone = await sample(own, bits, [{ ...row, cond: 0, uncond: tokens, out: 0 }]);
		const other = randomFloats(9 * bits * 2, 12);
		const logits = new Float32Array([
			...other,
			...own.subarray(tokens * bits * 2),
			...other,
			...own.subarray(0, tokens * bits * 2),
		]);
		const batch = await sample(logits, bits, [
			{ ...PLAIN, cond: 0, uncond: 0, tokens: 9, out: tokens + 9, seed: 1 },
			{ ...PLAIN, cond: 15, uncond: 0, tokens: 9, out: tokens },
			{ ...row, cond: 24, uncond: 9, out: 0 },
			{ ...row, cond: 24, uncond: 9, out: tokens + 18 },
		]);
		for (const out of [0, tokens + 18]) {
			expect(words(batch.mixed.slice(out * bits * 2, (out + tokens) * bits * 2))).toEqual(words(alone.mixed));
			expect(batch.codes.slice(out * 2, (out + tokens) * 2)).toEqual(alone.codes);
		}
	});

	test("another seed or scale draws others", async () => {
		const [bits, tokens] = [32, 8];
		const row = { ...PLAIN, cond: 0, uncond: 0, tokens };
		const changes: Partial<SampleRow>[] = [{}, { seed: 8 }, { scale: 4 }];
		const { codes } = await sample(
			new Float32Array(tokens * bits * 2),
			bits,
			changes.map((change, i) => ({ ...row, ...change, out: i * tokens })),
		);
		expect(new Set(codes).size).toBe(changes.length * tokens);
	});
});

test.each([1, 18, 32, 48, 70])("codeValues, %i bits", async (bits) => {
	using bench = new Bench(gpu);
	const [tokens, each] = [9, Math.ceil(bits / 32)];
	const codes = bench.put(words(randomFloats(tokens * each, 3)).map((word) => Math.imul(word, 0x9e3779b1)));
	const values = bench.empty(tokens, bits);
	const [out] = await bench.run(
		(pass) => codeValues(pass, { codes: codes.tensor, values, bits, tokens, label: "values" }),
		values,
	);
	const expected = Array.from(
		{ length: tokens * bits },
		(_, i) => (bitOf(codes.data, bits, Math.floor(i / bits), i % bits) * 2 - 1) / Math.sqrt(bits),
	);
	expect(maxError(out, expected)).toBeLessThan(1e-6);
});
