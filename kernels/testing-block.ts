import { attention } from "./attention/attention.ts";
import type { Gpu } from "./gpu/gpu.ts";
import { matmul } from "./matmul/matmul.ts";
import { layerNorm } from "./norm/layer-norm.ts";
import { Bench, words } from "./testing.ts";
import { rowTable } from "./tokens/rows.ts";

/**
 * What the tests run on two platforms: norm, projection to queries, keys and values, attention, all of one row of 9
 * tokens. The words of the result.
 */
export async function block(gpu: Gpu): Promise<number[]> {
	using bench = new Bench(gpu);
	const [tokens, heads, headDim] = [9, 2, 16];
	const width = heads * headDim;
	const [x, weight, bias] = [bench.random(tokens, width), bench.random(width, 3 * width), bench.random(3 * width)];
	const [scale, shift] = [bench.random(width), bench.random(width)];
	const [normed, qkv, y] = [bench.empty(tokens, width), bench.empty(tokens, 3 * width), bench.empty(tokens, width)];
	const row = { token: 0, tokens, cond: 0, rope: 0, key: 0, keys: tokens, append: 0 };
	const [out] = await bench.run((pass) => {
		const affine = { weight: scale.tensor, bias: shift.tensor };
		layerNorm(pass, { x: x.tensor, y: normed, tokens, width, eps: 1e-6, ...affine, label: "norm" });
		const shape = { m: tokens, k: width, n: 3 * width };
		matmul(pass, { x: normed, weight: weight.tensor, bias: bias.tensor, y: qkv, ...shape, label: "qkv" });
		attention(pass, {
			q: qkv,
			qStride: 3 * width,
			kv: { tensor: qkv, stride: 3 * width, key: width, value: 2 * width },
			y,
			heads,
			headDim,
			scale: headDim ** -0.5,
			rows: rowTable(pass, [row]),
			label: "attention",
		});
	}, y);
	return [...words(out)];
}
