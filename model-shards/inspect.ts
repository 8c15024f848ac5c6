/** What a model is made of and what it asks of a device, from its manifest alone. */
import { type Manifest, type TensorEntry, unsupported } from "./manifest.ts";

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
	device: {
		/** Bytes of the weights as the engine keeps them: everything as f32. */
		weights: number;
		/** Tensors whose f32 buffer is larger than a binding may be, and how many buffers each becomes. */
		split: { name: string; bytes: number; buffers: number }[];
	};
	/** Why this version cannot load it, or null. */
	unsupported: string | null;
}

export function inspect(manifest: Manifest, bindingBytes = BINDING_BYTES): Inspection {
	const { name, family, schedules, tensors } = manifest;
	const scales = new Set(tensors.flatMap(({ quantization }) => quantization?.scales ?? []));
	const parameters = (tensor: TensorEntry) => (scales.has(tensor.name) ? 0 : tensor.shape.reduce((a, b) => a * b, 1));
	const share = (of: string, list: readonly TensorEntry[]): Share => ({
		of, tensors: list.length, parameters: list.reduce((sum, tensor) => sum + parameters(tensor), 0), bytes: list.reduce((sum, { bytes }) => sum + bytes, 0),
	});
	const by = (key: (tensor: TensorEntry) => string) => Object.entries(Object.groupBy(tensors, key)).map(([of, list = []]) => share(of, list));
	const asF32 = tensors.map((tensor) => ({ name: tensor.name, bytes: 4 * parameters(tensor) }));
	return {
		name,
		family,
		schedules: Object.entries(schedules).map(([name, { grids, image }]) => ({ name, scales: grids.length, ...image })),
		parts: by(({ name }) => name.split(".")[0]),
		dtypes: by(({ dtype }) => dtype),
		total: share("all", tensors),
		device: {
			weights: asF32.reduce((sum, { bytes }) => sum + bytes, 0),
			split: asF32.filter(({ bytes }) => bytes > bindingBytes).map((tensor) => ({ ...tensor, buffers: Math.ceil(tensor.bytes / bindingBytes) })),
		},
		unsupported: unsupported(manifest),
	};
}
