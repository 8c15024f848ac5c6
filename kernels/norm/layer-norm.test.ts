import { describe, expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, maxError, words } from "../testing.ts";
import { layerNorm, rmsNorm } from "./layer-norm.ts";

const gpu = await sharedGpu();

const EPS = 1e-6;
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
	test.each([
		[4, 1],
		[36, 1],
		[260, 1],
		[4, 64],
		[260, 64],
		[516, 64],
	] as const)("affine, %i channels, %i lanes a token", async (width, lanes) => {
		using bench = new Bench(gpu);
		const x = bench.random(TOKENS, width);
		const [weight, bias] = [bench.random(width), bench.random(width)];
		const y = bench.empty(TOKENS, width);
		const affine = { weight: weight.tensor, bias: bias.tensor };
		const [out] = await bench.run(
			(pass) => layerNorm(pass, { x: x.tensor, y, tokens: TOKENS, width, eps: EPS, ...affine, lanes, label: "norm" }),
			y,
		);
		const expected = normalised(x.data, width, EPS).map((n, i) => n * weight.data[i % width] + bias.data[i % width]);
		expect(maxError(out, expected)).toBeLessThan(2e-5);
	});

	test("a large mean costs no more precision than float32 holds", async () => {
		using bench = new Bench(gpu);
		const width = 64;
		const x = bench.put(bench.random(TOKENS, width).data.map((v) => v + 1000));
		const [weight, bias] = [bench.put(new Float32Array(width).fill(1)), bench.put(new Float32Array(width))];
		const y = bench.empty(TOKENS, width);
		const affine = { weight: weight.tensor, bias: bias.tensor };
		const [out] = await bench.run(
			(pass) => layerNorm(pass, { x: x.tensor, y, tokens: TOKENS, width, eps: EPS, ...affine, label: "norm" }),
			y,
		);
		expect(maxError(out, normalised(x.data, width, EPS))).toBeLessThan(2e-3);
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
		return (
			await bench.run(
				(pass) =>
					rmsNorm(pass, { x: part.tensor, y, weight: weight.tensor, tokens: count, width, eps: EPS, label: "rms" }),
				y,
			)
		)[0];
	};
	const batch = await norm(0, tokens);
	const expected = Array.from(x.data, (v, i) => {
		const at = i - (i % width);
		const square = x.data.subarray(at, at + width).reduce((a, b) => a + b * b, 0) / width;
		return (v / Math.sqrt(square + EPS)) * weight.data[i % width];
	});
	expect(maxError(batch, expected)).toBeLessThan(2e-5);
	for (const from of [0, 40, 66])
		expect(words(await norm(from, 1))).toEqual(words(batch.slice(from * width, (from + 1) * width)));
});
