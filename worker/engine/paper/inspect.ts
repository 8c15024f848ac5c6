/** What a model is made of and what its weights ask of a device, from its manifest alone. */

import type { TensorEntry } from "../../../model-shards/format/manifest.ts";
import { PRECISIONS, type Precision } from "../../../model-shards/format/precision.ts";
import { plannedTensors } from "../../../model-shards/format/stored.ts";
import type { Model } from "../../families/model.ts";
import { type Weight, weigh } from "./weigh.ts";

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

export function inspect({ manifest, wanted }: Model, bindingBytes: number = BINDING_BYTES): Inspection {
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
		device: weigh(tensors, wanted, false, bindingBytes),
		precisions: Object.fromEntries(
			PRECISIONS.map((precision) => [
				precision,
				weigh(plannedTensors(wanted, precision), wanted, precision === "f16", bindingBytes),
			]),
		) as Record<Precision, Weight>,
	};
}
