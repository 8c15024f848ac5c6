/** What a model is made of and what its weights ask of a device, from its manifest alone. */

import { residentBytes, type Weighed } from "../format/layout.ts";
import { type Manifest, type TensorEntry, tensorBytes } from "../format/manifest.ts";
import { PRECISIONS, type Precision } from "../format/precision.ts";
import { modelTensors } from "./model.ts";
import { plannedTensors } from "./tensors.ts";

/** WebGPU's default limit of a storage buffer binding. */
export const BINDING_BYTES = 128 * 2 ** 20;

export interface Share {
	/** A part (`transformer`, `vae`, ...) or a type. */
	of: string;
	tensors: number;
	/** Numbers, scales of quantised matrices left out. */
	parameters: number;
	/** As stored. */
	bytes: number;
}

/** Weights in one precision. */
export interface Weight {
	/** In files, and on a device. */
	stored: number;
	resident: number;
	/**
	 * Tensors larger than a binding: matrices are cut into that many buffers by their columns; others (0 buffers) cannot
	 * be.
	 */
	over: { name: string; bytes: number; buffers: number }[];
}

export interface Inspection {
	name: string;
	family: string;
	schedules: { name: string; scales: number; height: number; width: number }[];
	parts: Share[];
	dtypes: Share[];
	total: Share;
	/** As the model is stored, loaded with f32 floats. */
	device: Weight;
	/** What imports of the same model in every precision would be; f16 loaded as f16. */
	precisions: Record<Precision, Weight>;
}

export function inspect(manifest: Manifest, bindingBytes = BINDING_BYTES): Inspection {
	const { name, family, schedules, tensors } = manifest;
	const scales = new Set(tensors.flatMap(({ quantization }) => quantization?.scales ?? []));
	const parameters = (tensor: TensorEntry) => (scales.has(tensor.name) ? 0 : tensor.shape.reduce((a, b) => a * b, 1));
	const share = (of: string, list: readonly TensorEntry[]): Share => ({
		of,
		tensors: list.length,
		parameters: list.reduce((sum, tensor) => sum + parameters(tensor), 0),
		bytes: list.reduce((sum, { bytes }) => sum + bytes, 0),
	});
	const by = (key: (tensor: TensorEntry) => string) =>
		Object.entries(Object.groupBy(tensors, key)).map(([of, list = []]) => share(of, list));
	return {
		name,
		family,
		schedules: Object.entries(schedules).map(([name, { grids, image }]) => ({ name, scales: grids.length, ...image })),
		parts: by(({ name }) => name.split(".")[0]),
		dtypes: by(({ dtype }) => dtype),
		total: share("all", tensors),
		device: weigh(tensors, false, bindingBytes),
		precisions: Object.fromEntries(
			PRECISIONS.map((precision) => [
				precision,
				weigh(plannedTensors(modelTensors(manifest), precision), precision === "f16", bindingBytes),
			]),
		) as Record<Precision, Weight>,
	};
}

/** `half`: floats that are multiplied are kept as f16. */
export function weigh(tensors: readonly Weighed[], half: boolean, bindingBytes: number): Weight {
	const resident = residentBytes(tensors, half);
	return {
		stored: tensors.reduce((sum, { dtype, shape }) => sum + (tensorBytes(dtype, shape) ?? Infinity), 0),
		resident: resident.reduce((sum, { bytes }) => sum + bytes, 0),
		over: resident
			.filter(({ bytes }) => bytes > bindingBytes)
			.map(({ name, bytes, layout }) => ({
				name,
				bytes,
				buffers: layout === "matrix" ? Math.ceil(bytes / bindingBytes) : 0,
			})),
	};
}
