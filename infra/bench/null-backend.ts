/**
 * A device that runs nothing: Dawn's null backend checks and encodes as ever, so that what the host does by itself can
 * be measured at the size of models that no machine at hand could hold.
 */
import { Gpu } from "../../kernels/gpu/gpu.ts";
import { NULL_FACTS, openNullDevice } from "../../kernels/gpu/native/null-backend.ts";
import type { Tensor } from "../../kernels/gpu/tensor.ts";
import type { TensorEntry } from "../../model-shards/format/manifest.ts";
import type { ModelFolder } from "../../worker/families/folder.ts";

/**
 * The null backend has 512 MiB in all: a tensor gets its shape and no more bytes than this. What is read is smaller.
 */
const MOST_BYTES = 12 << 20;
/** Data is given to weights alone, and they are many. */
const MOST_DATA = 64 << 10;
/** What one binding holds on the GPUs that these models are for. */
const BINDING_BYTES = 2 ** 31 - 4;

/** What takes no notice of how much memory there is. Throws where Dawn has no null backend. */
export const openNullGpu = async (): Promise<Gpu> => new NullGpu(await openNullDevice());

/** Words that stand for a weight of any size. */
const SIDE = 16;

/**
 * The same model without its data: zeros, and for large matrices of floats one small one, since nobody reads them here
 * and their shapes come with each operator.
 */
export function emptyFolder(folder: ModelFolder): ModelFolder {
	const { tensors } = folder.manifest;
	const large = ({ shape, bytes, quantization }: TensorEntry) =>
		shape.length === 2 && bytes > MOST_DATA && !quantization;
	const zeros = new Uint8Array(Math.max(...tensors.map((tensor) => (large(tensor) ? 0 : tensor.bytes)), 4 * SIDE ** 2));
	return {
		...folder,
		async *tensors() {
			for (const tensor of tensors) {
				const { name, dtype, shape, bytes } = tensor;
				if (large(tensor)) yield { name, dtype, shape: [SIDE, SIDE], bytes: zeros.subarray(0, 4 * SIDE ** 2) };
				else yield { name, dtype, shape, bytes: zeros.subarray(0, bytes) };
			}
		},
	};
}

/** Tensors are of the shape asked for, over fewer bytes. */
class NullGpu extends Gpu {
	constructor(device: GPUDevice) {
		super(device, NULL_FACTS, BINDING_BYTES);
	}

	override tensor(label: string, shape: readonly number[], usage = 0, dtype?: "f16"): Tensor {
		// Keys and values are a tensor a block, and many.
		const most = label.startsWith("keys and values") ? MOST_DATA : MOST_BYTES;
		return this.#hollow(label, shape, most, usage, dtype);
	}

	override upload(label: string, shape: readonly number[], data: Parameters<Gpu["upload"]>[2]): Tensor {
		return this.#hollow(label, shape, MOST_DATA, 0, data instanceof Float16Array ? "f16" : undefined);
	}

	override write(tensor: Tensor, at: number, words: Parameters<Gpu["write"]>[2]): void {
		if (at * 4 + words.byteLength <= tensor.bytes) super.write(tensor, at, words);
	}

	/** It has room for whatever it is asked for. */
	override async room(): Promise<boolean> {
		return true;
	}

	#hollow(label: string, shape: readonly number[], most: number, usage: number, dtype: "f16" | undefined): Tensor {
		const elements = shape.reduce((product, size) => product * size, 1);
		return { ...super.tensor(label, [Math.min(elements, most / 4)], usage, dtype), shape };
	}
}
