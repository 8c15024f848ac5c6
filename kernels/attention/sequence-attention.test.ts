import { describe, expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, maxError, words } from "../testing.ts";
import { rowTable } from "../tokens/rows.ts";
import { attention } from "./attention.ts";
import { type SequenceAttention, sequenceAttention } from "./sequence-attention.ts";

const gpu = await sharedGpu();

const ROWS = 9;
interface Setup {
	tokens: number;
	heads: number;
	kvHeads: number;
	headDim: number;
	scale: number;
	causal: boolean;
	bias: boolean;
	seen?: number[];
	/** Multiplies the queries: large ones make one key win. */
	sharp?: number;
}

/** One projection of q, k and v, as the encoders of fused weights have it; the others bind three tensors. */
async function compare({
	tokens,
	heads,
	kvHeads,
	headDim,
	scale,
	causal,
	bias,
	seen,
	sharp = 1,
}: Setup): Promise<number> {
	using bench = new Bench(gpu);
	const [width, kvWidth] = [heads * headDim, kvHeads * headDim];
	const stride = width + 2 * kvWidth;
	const { tensor, data } = bench.put(
		bench.random(tokens, stride).data.map((v, i) => (i % stride < width ? v * sharp : v)),
	);
	const table = bench.random(ROWS, heads);
	const index = Array.from({ length: 2 * tokens - 1 }, (_, i) => (i * 5) % ROWS);
	const y = bench.empty(tokens, width);
	const [out] = await bench.run((pass) => {
		const at = (from: number) => ({ tensor, stride, at: from });
		sequenceAttention(pass, {
			q: at(0),
			k: at(width),
			v: at(width + kvWidth),
			y,
			tokens,
			seen,
			heads,
			kvHeads,
			headDim,
			scale,
			causal,
			bias: bias ? { table: table.tensor, index: pass.table(index) } : undefined,
			label: "sequence",
		});
	}, y);
	const expected = new Float64Array(tokens * width);
	for (let t = 0; t < tokens; t++) {
		for (let head = 0; head < heads; head++) {
			const shared = Math.floor(head / (heads / kvHeads)) * headDim;
			const keys = (seen ?? Array.from({ length: tokens }, (_, key) => key)).filter((key) => !causal || key <= t);
			const scores = keys.map((key) => {
				let dot = 0;
				for (let c = 0; c < headDim; c++)
					dot += data[t * stride + head * headDim + c] * data[key * stride + width + shared + c];
				return dot * scale + (bias ? table.data[index[key - t + tokens - 1] * heads + head] : 0);
			});
			const top = Math.max(...scores);
			const weights = scores.map((score) => Math.exp(score - top));
			const total = weights.reduce((a, b) => a + b, 0);
			for (const [i, weight] of weights.entries()) {
				for (let c = 0; c < headDim; c++)
					expected[t * width + head * headDim + c] +=
						(weight / total) * data[keys[i] * stride + width + kvWidth + shared + c];
			}
		}
	}
	return maxError(out, expected);
}

describe("attention within a sequence", () => {
	test.each<Setup>([
		{ tokens: 1, heads: 1, kvHeads: 1, headDim: 4, scale: 1, causal: true, bias: false },
		{ tokens: 77, heads: 2, kvHeads: 2, headDim: 12, scale: 0.3, causal: true, bias: false },
		{ tokens: 70, heads: 3, kvHeads: 3, headDim: 8, scale: 1, causal: false, bias: true },
		{ tokens: 13, heads: 3, kvHeads: 3, headDim: 64, scale: 1, causal: false, bias: true, sharp: 20 },
		{ tokens: 66, heads: 6, kvHeads: 2, headDim: 16, scale: 0.25, causal: true, bias: false },
		{
			tokens: 66,
			heads: 4,
			kvHeads: 1,
			headDim: 16,
			scale: 0.25,
			causal: true,
			bias: true,
			seen: [0, 1, 2, 3, 4, 40, 41, 63],
		},
		{ tokens: 20, heads: 2, kvHeads: 2, headDim: 8, scale: 0.5, causal: false, bias: false, seen: [2, 3, 4, 5, 6, 19] },
		{ tokens: 9, heads: 2, kvHeads: 2, headDim: 8, scale: 0.5, causal: true, bias: false, seen: [3, 4, 8] },
	])(
		"$tokens tokens, $heads heads over $kvHeads of $headDim, causal $causal, bias $bias, seen $seen",
		async (setup) => {
			expect(await compare(setup)).toBeLessThan(setup.sharp ? 1e-4 : 1e-5);
		},
	);

	test("with neither mask nor bias it gives the bits of `attention`", async () => {
		using bench = new Bench(gpu);
		const [tokens, heads, headDim] = [37, 3, 16];
		const width = heads * headDim;
		const { tensor } = bench.random(tokens, 3 * width);
		const [own, other] = [bench.empty(tokens, width), bench.empty(tokens, width)];
		const outputs = await bench.run(
			(pass) => {
				const at = (from: number) => ({ tensor, stride: 3 * width, at: from });
				sequenceAttention(pass, {
					q: at(0),
					k: at(width),
					v: at(2 * width),
					y: own,
					tokens,
					heads,
					kvHeads: heads,
					headDim,
					scale: 0.25,
					causal: false,
					label: "sequence",
				});
				const rows = rowTable(pass, [{ token: 0, tokens, cond: 0, rope: 0, key: 0, keys: tokens, append: 0 }]);
				attention(pass, {
					q: tensor,
					qStride: 3 * width,
					kv: { tensor, stride: 3 * width, key: width, value: 2 * width },
					y: other,
					heads,
					headDim,
					scale: 0.25,
					rows,
					label: "attention",
				});
			},
			own,
			other,
		);
		expect(words(outputs[0])).toEqual(words(outputs[1]));
	});

	test("refuses heads that do not fit", () => {
		using bench = new Bench(gpu);
		const tensor = bench.empty(4, 36);
		const at = { tensor, stride: 36, at: 0 };
		const record = (more: Partial<SequenceAttention>) => () =>
			sequenceAttention(gpu.pass("refused"), {
				q: at,
				k: at,
				v: at,
				y: tensor,
				tokens: 4,
				heads: 3,
				kvHeads: 3,
				headDim: 12,
				scale: 1,
				causal: false,
				label: "bad",
				...more,
			});
		expect(record({ headDim: 6 })).toThrow(/multiple of 4/);
		expect(record({ kvHeads: 2 })).toThrow(/evenly/);
	});
});
