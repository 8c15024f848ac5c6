/** What a tensor of a model becomes on a device: its layout there, and its bytes. */
import type { TensorEntry } from "./manifest.ts";

/** Official [n, k] as [k, n]; 3x3 convolutions as [3, 3, in, out]; tables and vectors as they are. */
export type Layout = "matrix" | "convolution" | "plain";

const LOOKED_UP =
	/(tok_embed|pos_embed|lvl_embed|class_emb|quantize\.embedding|shared|embed_tokens|(token|position)_embedding|relative_attention_bias)\.weight$|(cfg_uncond|scale_shift_table)$/;
/** What it multiplies leaves the range of f16 in the published sizes. */
const WIDE = /DenseReluDense\.wo\.weight$/;

export function layoutOf(name: string, shape: readonly number[]): Layout {
	if (shape.length === 4 && shape[2] === 3 && shape[3] === 3) return "convolution";
	return (shape.length === 2 || (shape.length === 4 && name.endsWith(".weight"))) && !LOOKED_UP.test(name)
		? "matrix"
		: "plain";
}

/** Elements as they lie there: what kernels read by four is padded to fours. */
export function residentElements(name: string, shape: readonly number[]): number {
	const four = (count: number) => Math.ceil(count / 4) * 4;
	switch (layoutOf(name, shape)) {
		case "convolution":
			return 9 * four(shape[0]) * four(shape[1]);
		case "matrix":
			return shape[1] * four(shape[0]);
		case "plain":
			return four(shape.reduce((a, b) => a * b, 1));
	}
}

/** Whether f16 will do where that is asked for. */
export const halves = (name: string, shape: readonly number[]): boolean =>
	layoutOf(name, shape) !== "plain" && !WIDE.test(name);

export type Weighed = Pick<TensorEntry, "name" | "shape" | "dtype" | "quantization">;

/**
 * Bytes on a device by tensor. `half`: matrices and convolutions of floats are kept as f16. Scales of whole numbers are
 * kept as f32.
 */
export function residentBytes(
	tensors: readonly Weighed[],
	half = false,
): { name: string; bytes: number; layout: Layout }[] {
	const scales = new Set(tensors.flatMap(({ quantization }) => quantization?.scales ?? []));
	return tensors.map(({ name, shape, dtype, quantization }) => {
		const layout = layoutOf(name, shape);
		const elements = residentElements(name, shape);
		const bits = quantization ? (dtype === "I8" ? 8 : 4) : half && halves(name, shape) && !scales.has(name) ? 16 : 32;
		// With a value's bias comes the key's, which is zero.
		return { name, bytes: ((name.endsWith(".v_bias") ? 2 : 1) * elements * bits) / 8, layout };
	});
}
