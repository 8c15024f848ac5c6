/** What the tensors of a model take on a device. */
import type { TensorEntry } from "./manifest.ts";
import type { Layout, TensorShape } from "./tensor-shapes.ts";

/** A tensor as it is stored. */
export type Stored = Pick<TensorEntry, "name" | "shape" | "dtype" | "quantization">;

/** Elements as they lie there: what kernels read by four is padded to fours. */
function residentElements(layout: Layout, shape: readonly number[]): number {
	const four = (count: number) => Math.ceil(count / 4) * 4;
	switch (layout) {
		case "convolution":
			return 9 * four(shape[0]) * four(shape[1]);
		case "matrix":
		case "rows":
			return four(shape[1]) * four(shape[0]);
		case "plain":
			return four(shape.reduce((a, b) => a * b, 1));
	}
}

/** Whether f16 will do where that is asked for. */
export const halves = ({ layout, wide }: TensorShape): boolean =>
	(layout === "matrix" || layout === "convolution") && !wide;

/**
 * Bytes on a device by tensor; `wanted` says what each is. `half`: matrices and convolutions of floats are kept as f16.
 * Scales of whole numbers lie like their matrices, as f32. `cut`: into as many tensors as a binding asks for.
 */
export function residentBytes(
	stored: readonly Stored[],
	wanted: readonly TensorShape[],
	half = false,
): { name: string; bytes: number; cut: boolean }[] {
	const byName = new Map(wanted.map((tensor) => [tensor.name, tensor]));
	return stored.map(({ name, shape, dtype, quantization }) => {
		const tensor = byName.get(name);
		const layout = tensor?.layout ?? "matrix";
		const bits = quantization ? (dtype === "I8" ? 8 : 4) : half && tensor && halves(tensor) ? 16 : 32;
		const elements = residentElements(layout, shape) + (tensor?.joins?.zeros ?? 0);
		return { name, bytes: (elements * bits) / 8, cut: layout !== "plain" || tensor?.lookup === true };
	});
}
