/**
 * Weights from a model folder to the device, laid out as the kernels read them: floats widened to f32 (or kept as f16),
 * whole numbers as they are.
 */

import type { Gpu, Tensor } from "../../../kernels/gpu/gpu.ts";
import { DeviceError } from "../../../kernels/gpu/native/device.ts";
import { convWeight } from "../../../kernels/image/conv.ts";
import { type Matrix, transposeWeight } from "../../../kernels/matmul/matmul.ts";
import { type Quantised, quantisedWords } from "../../../kernels/matmul/quantised.ts";
import type { ModelFolder } from "../../../model-shards/format/folder.ts";
import { halves, layoutOf } from "../../../model-shards/format/layout.ts";
import type { Quantization, TensorEntry } from "../../../model-shards/format/manifest.ts";
import { toF32 } from "../../../model-shards/format/precision.ts";

/** What matrices and convolutions of floats are stored and multiplied in; sums, and everything else, are f32. */
export const DTYPES = ["f32", "f16"] as const;
export type Dtype = (typeof DTYPES)[number];

/** A matrix of whole numbers, and its scales once they came. */
interface QuantisedEntry {
	name: string;
	bits: Quantised["bits"];
	group: number;
	n: number;
	k: number;
}

export class Weights {
	#gpu: Gpu;
	#tensors = new Map<string, Matrix>();
	#owned: Tensor[] = [];
	#biases = new Map<string, Float32Array>();
	#dtype: Dtype;
	/** By the name of the scales. */
	#quantised = new Map<string, QuantisedEntry>();
	/** By the matrix's name, a tensor for each of its parts. */
	#scales = new Map<string, Tensor[]>();

	constructor(gpu: Gpu, dtype: Dtype = "f32") {
		this.#gpu = gpu;
		this.#dtype = dtype;
	}

	/**
	 * Reads every tensor of the folder; with f16 matrices and convolutions of floats are kept in half precision.
	 * `progress` gets bytes read so far and in all. Throws what the folder throws, with nothing left allocated.
	 */
	static async load(
		gpu: Gpu,
		folder: ModelFolder,
		progress?: (done: number, total: number) => void,
		dtype?: Dtype,
	): Promise<Weights> {
		const weights = new Weights(gpu, dtype);
		const { tensors } = folder.manifest;
		const total = tensors.reduce((sum, { bytes }) => sum + bytes, 0);
		const quantised = new Map(
			tensors.flatMap((tensor) =>
				tensor.quantization ? [[tensor.name, quantisedOf(tensor, tensor.quantization)] as const] : [],
			),
		);
		for (const { name, quantization } of tensors)
			if (quantization) weights.#quantised.set(quantization.scales, quantised.get(name) as QuantisedEntry);
		let done = 0;
		try {
			for await (const { name, dtype, shape, bytes } of folder.tensors()) {
				const whole = quantised.get(name);
				if (whole) weights.#putQuantised(whole, bytes);
				else weights.#put(name, shape, toF32(dtype, bytes.slice()));
				progress?.((done += bytes.byteLength), total);
			}
			weights.#joinScales();
			weights.#joinBiases();
			await gpu.allocated();
		} catch (error) {
			weights.destroy();
			throw error;
		}
		return weights;
	}

	get(name: string): Matrix {
		const tensor = this.#tensors.get(name);
		if (!tensor) throw new RangeError(`The model has no tensor ${name}. Import it again from its checkpoint.`);
		return tensor;
	}

	/** A linear layer's or convolution's `weight` and `bias`. */
	linear(name: string): { weight: Matrix; bias: Tensor } {
		return { weight: this.get(`${name}.weight`), bias: this.get(`${name}.bias`) };
	}

	/** A linear layer's `weight`, and its `bias` where it has one. */
	projection(name: string): { weight: Tensor; bias?: Tensor } {
		return { weight: this.get(`${name}.weight`), bias: this.#tensors.get(`${name}.bias`) };
	}

	destroy(): void {
		this.#gpu.free(...this.#owned);
		this.#owned = [];
		this.#tensors.clear();
	}

	#put(name: string, shape: readonly number[], data: Float32Array<ArrayBuffer>): void {
		if (/\.(q_bias|v_bias)$/.test(name)) {
			this.#biases.set(name, data);
			return;
		}
		const scaled = this.#quantised.get(name);
		if (scaled) {
			const groups = scaled.k / scaled.group;
			this.#scales.set(
				scaled.name,
				columnParts(this.#gpu, scaled.n, (scaled.k * scaled.bits) / 8).map(([from, to]) =>
					this.#upload(name, transposeWeight(data.subarray(from * groups, to * groups), to - from, groups)),
				),
			);
			return;
		}
		const half = this.#dtype === "f16" && halves(name, shape);
		switch (layoutOf(name, shape)) {
			case "convolution":
				this.#tensors.set(name, this.#upload(name, convWeight(data, shape[0], shape[1]), half));
				break;
			case "plain":
				this.#tensors.set(name, this.#upload(name, pad4(data)));
				break;
			case "matrix": {
				const [n, k] = shape;
				this.#tensors.set(
					name,
					inParts(
						columnParts(this.#gpu, n, k * (half ? 2 : 4)).map(([from, to]) =>
							this.#upload(name, transposeWeight(data.subarray(from * k, to * k), to - from, k), half, k),
						),
					),
				);
			}
		}
	}

	#putQuantised({ name, bits, n, k }: QuantisedEntry, packed: Uint8Array): void {
		const row = (k * bits) / 8;
		const parts = columnParts(this.#gpu, n, row).map(([from, to]) => {
			const words = quantisedWords(packed.subarray(from * row, to * row), bits, to - from, k);
			return {
				...this.#own(this.#gpu.upload(name, [words.length], words)),
				shape: [k, Math.ceil((to - from) / 4) * 4],
			};
		});
		this.#tensors.set(name, inParts(parts));
	}

	#joinScales(): void {
		for (const { name, bits, group } of this.#quantised.values()) {
			const scales = this.#scales.get(name) as Tensor[];
			let part: Matrix | undefined = this.#tensors.get(name);
			for (let i = 0; part; i++, part = part.next) part.quantised = { bits, group, scales: scales[i] };
		}
		this.#quantised.clear();
		this.#scales.clear();
	}

	/** Attention projections fused as q, k, v or as k, v have one bias; the key's is zero in every checkpoint. */
	#joinBiases(): void {
		const put = (name: string, ...parts: Float32Array[]) =>
			this.#tensors.set(name, this.#upload(name, Float32Array.from(parts.flatMap((part) => [...part]))));
		for (const [name, v] of this.#biases) {
			if (!name.endsWith(".v_bias")) continue;
			const module = name.slice(0, -".v_bias".length);
			const q = this.#biases.get(`${module}.q_bias`);
			const k = new Float32Array(v.length);
			const fused = ["mat_qkv", "qkv_proj"].find((name) => this.#tensors.has(`${module}.${name}.weight`));
			if (q && fused) put(`${module}.${fused}.bias`, q, k, v);
			else {
				put(`${module}.mat_kv.bias`, k, v);
				if (q) put(`${module}.mat_q.bias`, q);
			}
		}
		this.#biases.clear();
	}

	/** `k`: rows of a matrix. */
	#upload(name: string, data: Float32Array<ArrayBuffer>, half = false, k?: number): Tensor {
		return this.#own(
			this.#gpu.upload(
				name,
				k === undefined ? [data.length] : [k, data.length / k],
				half ? new Float16Array(data) : data,
			),
		);
	}

	#own(tensor: Tensor): Tensor {
		this.#owned.push(tensor);
		return tensor;
	}
}

function quantisedOf({ name, dtype, shape: [n, k] }: TensorEntry, { group }: Quantization): QuantisedEntry {
	return { name, bits: dtype === "I8" ? 8 : 4, group, n, k };
}

/** Ranges of the n columns of a matrix, each within what a binding holds. `bytes`: of a column. */
function columnParts(gpu: Gpu, n: number, bytes: number): [from: number, to: number][] {
	const most = Math.floor(gpu.bindingBytes / bytes / 4) * 4;
	if (most === 0)
		throw new DeviceError(
			`Four columns of a matrix take ${4 * bytes} bytes; this adapter binds at most ${gpu.bindingBytes}. Use another GPU.`,
		);
	return Array.from({ length: Math.ceil(n / most) }, (_, i) => [i * most, Math.min(n, (i + 1) * most)]);
}

/** Parts of a matrix, one after the other. */
const inParts = (parts: readonly Tensor[]): Matrix =>
	parts.reduceRight<Matrix | undefined>((next, part) => ({ ...part, next }), undefined) as Matrix;

function pad4(data: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
	if (data.length % 4 === 0) return data;
	const padded = new Float32Array(Math.ceil(data.length / 4) * 4);
	padded.set(data);
	return padded;
}
