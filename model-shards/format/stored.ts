/** How a tensor of a model is stored in a precision. */
import type { Stored } from "./layout.ts";
import { type Dtype, type Quantization, scalesOf } from "./manifest.ts";
import type { Precision } from "./precision.ts";
import type { TensorShape } from "./tensor-shapes.ts";

/** Quantisation groups, in elements along k. */
export const GROUPS = [32, 64] as const;
export type Group = (typeof GROUPS)[number];

/** The type a tensor gets in the shards. `from`: that of its checkpoint, kept where no precision is asked for. */
export function storedAs(
	{ name, shape, matmul }: TensorShape,
	from: string,
	precision: Precision | undefined,
	group: Group,
): { dtype: Dtype; quantization?: Quantization } {
	switch (precision) {
		case undefined:
			return { dtype: from === "F16" ? "F16" : "F32" };
		case "f32":
			return { dtype: "F32" };
		case "f16":
			return { dtype: "F16" };
		default:
			if (matmul && shape[1] % group === 0)
				return { dtype: precision === "int8" ? "I8" : "I4", quantization: { group, scales: scalesOf(name) } };
			return { dtype: shape.filter((side) => side > 1).length > 1 ? "F16" : "F32" };
	}
}

/** What an import of F32 tensors would write in a precision, scales included. */
export function plannedTensors(
	wanted: readonly TensorShape[],
	precision: Precision,
	group: Group = GROUPS[0],
): Stored[] {
	return wanted.flatMap((tensor): Stored[] => {
		const { name, shape } = tensor;
		const { dtype, quantization } = storedAs(tensor, "F32", precision, group);
		const entry = { name, shape, dtype };
		return quantization
			? [
					{ ...entry, quantization },
					{ name: quantization.scales, shape: [shape[0], shape[1] / quantization.group], dtype: "F16" },
				]
			: [entry];
	});
}
