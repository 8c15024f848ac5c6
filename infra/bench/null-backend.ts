/**
 * A device that runs nothing: Dawn's null backend checks and encodes as ever, so that what the host does by itself can
 * be measured at the size of models that no machine at hand could hold.
 */
import { OutOfMemoryError } from "../../kernels/gpu/errors.ts";
import { Gpu } from "../../kernels/gpu/gpu.ts";
import { NULL_FACTS, openNullDevice } from "../../kernels/gpu/native/null-backend.ts";
import { elements, type Tensor, tensorBytes } from "../../kernels/gpu/tensor.ts";
import type { TensorEntry } from "../../model-shards/format/manifest.ts";
import type { ModelFolder } from "../../worker/families/folder.ts";

/**
 * The null backend has 512 MiB in all: a tensor gets its shape and no more bytes than this. What is read is smaller.
 */
const MOST_BYTES = 12 << 20;
/** A picture of 1024 pixels a side, read back. */
const MOST_PICTURE = 4 * 1024 ** 2;
/** Data is given to weights alone, and they are many. */
const MOST_DATA = 64 << 10;
/** What one binding holds on the GPUs that these models are for. */
const BINDING_BYTES = 2 ** 31 - 4;

/**
 * What takes no notice of how much memory there is; `bindingBytes` is what a binding is said to hold. Throws where Dawn
 * has no null backend.
 */
export const openNullGpu = async (bindingBytes = BINDING_BYTES): Promise<NullGpu> =>
	new NullGpu(await openNullDevice(), bindingBytes);

/** Words that stand for a weight of any size. */
const SIDE = 16;

/** The same model with zeros for data, for those who count what it takes. */
export function zeroFolder(folder: ModelFolder): ModelFolder {
	const { tensors } = folder.manifest;
	const zeros = new Uint8Array(Math.max(...tensors.map(({ bytes }) => bytes)));
	return {
		...folder,
		async *tensors() {
			for (const { name, dtype, shape, bytes } of tensors)
				yield { name, dtype, shape, bytes: zeros.subarray(0, bytes) };
		},
	};
}

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

/** What a tensor is for, by its label. */
const KINDS = {
	keys: /^keys and values/,
	decoder: /^(decoder |resized latents|latents$)/,
	text: /^(text |prompt )/,
} as const;
export type Kind = "weights" | "activations" | keyof typeof KINDS;
export type Counted = Record<Kind, number>;

/** Tensors are of the shape asked for, over fewer bytes; what they would take is counted. */
export class NullGpu extends Gpu {
	/** Bytes that are held now, and those at the time of the most. */
	counted: Counted = { weights: 0, activations: 0, keys: 0, decoder: 0, text: 0 };
	most: Counted = { ...this.counted };
	#sizes = new Map<GPUBuffer, { kind: Kind; bytes: number }>();

	constructor(device: GPUDevice, bindingBytes: number) {
		super(device, NULL_FACTS, bindingBytes);
	}

	override tensor(label: string, shape: readonly number[], _usage = 0, dtype?: "f16"): Tensor {
		const bytes = tensorBytes(shape, dtype);
		if (bytes > this.bindingBytes)
			throw new OutOfMemoryError(`${label} needs a buffer of ${bytes} bytes; a binding holds ${this.bindingBytes}.`);
		return this.long(label, shape, dtype);
	}

	override long(label: string, shape: readonly number[], dtype?: "f16"): Tensor {
		// Keys and values are a tensor a block, and many; of the decoder's buffers, what is read back is smaller.
		const many = { "keys and values": MOST_DATA, "decoder buffer": MOST_PICTURE };
		const [, most = MOST_BYTES] = Object.entries(many).find(([begins]) => label.startsWith(begins)) ?? [];
		const [kind = "activations"] = (Object.keys(KINDS) as (keyof typeof KINDS)[]).filter((of) => KINDS[of].test(label));
		return this.#hollow(label, shape, most, dtype, kind);
	}

	override upload(label: string, shape: readonly number[], data: Parameters<Gpu["upload"]>[2]): Tensor {
		return this.#hollow(label, shape, MOST_DATA, data instanceof Float16Array ? "f16" : undefined, "weights");
	}

	/** Counts what is most from now on. */
	forgetMost(): void {
		this.most = { ...this.counted };
	}

	override write(tensor: Tensor, at: number, words: Parameters<Gpu["write"]>[2]): void {
		if (at * 4 + words.byteLength <= tensor.bytes) super.write(tensor, at, words);
	}

	override free(...tensors: Tensor[]): void {
		for (const { buffer } of tensors) {
			const size = this.#sizes.get(buffer);
			if (size) this.counted[size.kind] -= size.bytes;
			this.#sizes.delete(buffer);
		}
		super.free(...tensors);
	}

	/** It has room for whatever it is asked for. */
	override async room(): Promise<boolean> {
		return true;
	}

	#hollow(label: string, shape: readonly number[], most: number, dtype: "f16" | undefined, kind: Kind): Tensor {
		const bytes = tensorBytes(shape, dtype);
		const tensor = { ...super.long(label, [Math.min(elements(shape), most / 4)], dtype), shape };
		this.#sizes.set(tensor.buffer, { kind, bytes });
		this.counted[kind] += bytes;
		if (total(this.counted) > total(this.most)) this.most = { ...this.counted };
		return tensor;
	}
}

export const total = (counted: Counted): number => Object.values(counted).reduce((sum, bytes) => sum + bytes, 0);
