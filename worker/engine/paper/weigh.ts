import { residentBytes, type Stored } from "../../../model-shards/format/layout.ts";
import { tensorBytes } from "../../../model-shards/format/manifest.ts";
import type { TensorShape } from "../../../model-shards/format/tensor-shapes.ts";

/** Weights in one precision. */
export interface Weight {
	/** Bytes in files, and on a device. */
	stored: number;
	resident: number;
	/**
	 * Tensors larger than a binding: matrices are cut into that many buffers by their columns, tables of words by their
	 * rows; others (0 buffers) cannot be.
	 */
	over: { name: string; bytes: number; buffers: number }[];
}

/** `wanted` says what the tensors are; `half`: floats that are multiplied are kept as f16. */
export function weigh(
	tensors: readonly Stored[],
	wanted: readonly TensorShape[],
	half: boolean,
	bindingBytes: number,
): Weight {
	const resident = residentBytes(tensors, wanted, half);
	return {
		stored: tensors.reduce((sum, { dtype, shape }) => sum + (tensorBytes(dtype, shape) ?? Infinity), 0),
		resident: resident.reduce((sum, { bytes }) => sum + bytes, 0),
		over: resident
			.filter(({ bytes }) => bytes > bindingBytes)
			.map(({ name, bytes, cut }) => ({
				name,
				bytes,
				buffers: cut ? Math.ceil(bytes / bindingBytes) : 0,
			})),
	};
}
