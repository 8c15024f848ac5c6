/** Logits whose rows are longer than their values: what lies behind them is of no effect. */
import { expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { Bench, randomFloats } from "../testing.ts";
import { codeValues, sampleBits } from "./bits.ts";
import { sampleCategories } from "./categories.ts";
import { seekTemperature } from "./temperature.ts";

const gpu = await sharedGpu();

const TOKENS = 5;
const row = { cond: 0, uncond: TOKENS, tokens: TOKENS, out: 0, guidance: 2.5, tau: 0.8, topK: 0, topP: 0.9 };
const rows = [{ ...row, seed: 11, scale: 2 }];

/** [rows, width] with `beyond` behind every row. */
function spread(data: Float32Array, width: number, stride: number, beyond: number): Float32Array<ArrayBuffer> {
	const out = new Float32Array((data.length / width) * stride).fill(beyond);
	for (let at = 0; at * width < data.length; at++) out.set(data.subarray(at * width, (at + 1) * width), at * stride);
	return out;
}

async function run(
	logits: Float32Array<ArrayBuffer>,
	stride: number,
	record: (pass: Pass, x: Tensor, mixed: Tensor, codes: Tensor) => void,
) {
	using bench = new Bench(gpu);
	const x = bench.put(logits).tensor;
	const mixed = bench.empty(TOKENS, stride);
	const codes = bench.empty(TOKENS);
	return await bench.run((pass) => record(pass, x, mixed, codes), mixed, codes);
}

const sampled = {
	categories: (width: number, stride: number) => (pass: Pass, logits: Tensor, mixed: Tensor, codes: Tensor) =>
		sampleCategories(pass, { logits, mixed, codes, vocabulary: width, stride, rows, label: "codes" }),
	bits: (width: number, stride: number) => (pass: Pass, logits: Tensor, mixed: Tensor, codes: Tensor) =>
		sampleBits(pass, { logits, mixed, codes, bits: width / 2, stride, rows, label: "bits" }),
};

test.each([
	["categories", 13, 16],
	["bits", 14, 16],
] as const)("%s", async (kind, width, stride) => {
	const logits = randomFloats(2 * TOKENS * width, 3).map((v) => v * 3);
	const dense = await run(logits, width, sampled[kind](width, width));
	const padded = await run(spread(logits, width, stride, 1e4), stride, sampled[kind](width, stride));
	expect(padded[1]).toEqual(dense[1]);
	const cut = Array.from({ length: TOKENS }, (_, at) => [...padded[0].subarray(at * stride, at * stride + width)]);
	expect(cut.flat()).toEqual([...dense[0]]);
});

test("a temperature", async () => {
	const logits = randomFloats(2 * TOKENS * 14, 3).map((v) => v * 3);
	const seek = (x: Float32Array<ArrayBuffer>, stride: number) =>
		run(x, stride, (pass, logits, _, taus) => {
			const sought = rows.map((row) => ({ ...row, temperature: { confidence: 0.7, between: [0.1, 4] as const } }));
			seekTemperature(pass, { logits, taus, choices: 7, values: 2, stride, rows: sought, label: "tau" });
		});
	const [, dense] = await seek(logits, 14);
	const [, padded] = await seek(spread(logits, 14, 16, 1e4), 16);
	expect(dense[0]).toBeGreaterThan(0.1);
	expect(padded[0]).toBe(dense[0]);
});

test("codes as numbers have zeros behind them", async () => {
	using bench = new Bench(gpu);
	const codes = bench.put(Uint32Array.of(0b101, 0b010)).tensor;
	const values = bench.empty(2, 4);
	const [numbers] = await bench.run(
		(pass) => codeValues(pass, { codes, values, bits: 3, stride: 4, tokens: 2, label: "values" }),
		values,
	);
	const one = Math.fround(1 / Math.sqrt(3));
	expect([...numbers].map((v) => Math.round((v / one) * 1e5) / 1e5)).toEqual([1, -1, 1, 0, -1, 1, -1, 0]);
});
