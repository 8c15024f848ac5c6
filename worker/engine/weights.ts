/** Weights from a model folder to the device: widened to f32 and laid out as the kernels read them. */
import { convWeight } from "../../kernels/conv.ts";
import type { Gpu, Tensor } from "../../kernels/gpu.ts";
import { transposeWeight } from "../../kernels/matmul.ts";
import type { ModelFolder } from "../../model-shards/folder.ts";

/** What matrices and convolutions are stored and multiplied in; sums, and everything else, are f32. */
export type Dtype = "f32" | "f16";

export class Weights {
	#gpu: Gpu;
	#tensors = new Map<string, Tensor>();
	#biases = new Map<string, Float32Array>();
	#dtype: Dtype;

	constructor(gpu: Gpu, dtype: Dtype = "f32") {
		this.#gpu = gpu;
		this.#dtype = dtype;
	}

	/** Reads every tensor of the folder; with f16 matrices and convolutions are kept in half precision. `progress` gets bytes read so far and in all. Throws what the folder throws, with nothing left allocated. */
	static async load(gpu: Gpu, folder: ModelFolder, progress?: (done: number, total: number) => void, dtype?: Dtype): Promise<Weights> {
		const weights = new Weights(gpu, dtype);
		const total = folder.manifest.tensors.reduce((sum, { bytes }) => sum + bytes, 0);
		let done = 0;
		try {
			for await (const { name, dtype, shape, bytes } of folder.tensors()) {
				weights.#put(name, shape, widen(dtype, bytes));
				progress?.((done += bytes.byteLength), total);
			}
			weights.#joinBiases();
		} catch (error) {
			weights.destroy();
			throw error;
		}
		return weights;
	}

	get(name: string): Tensor {
		const tensor = this.#tensors.get(name);
		if (!tensor) throw new RangeError(`The model has no tensor ${name}. Import it again from its checkpoint.`);
		return tensor;
	}

	/** A linear layer's or convolution's `weight` and `bias`. */
	linear(name: string): { weight: Tensor; bias: Tensor } {
		return { weight: this.get(`${name}.weight`), bias: this.get(`${name}.bias`) };
	}

	/** A linear layer's `weight`, and its `bias` where it has one. */
	projection(name: string): { weight: Tensor; bias?: Tensor } {
		return { weight: this.get(`${name}.weight`), bias: this.#tensors.get(`${name}.bias`) };
	}

	destroy(): void {
		this.#gpu.free(...this.#tensors.values());
		this.#tensors.clear();
	}

	#put(name: string, shape: readonly number[], data: Float32Array<ArrayBuffer>): void {
		if (/\.(q_bias|v_bias)$/.test(name)) {
			this.#biases.set(name, data);
			return;
		}
		const laid = layOut(name, shape, data);
		const padded = laid.length % 4 ? pad4(laid) : laid;
		const half = this.#dtype === "f16" && multiplied(name, shape) && !WIDE.test(name);
		this.#tensors.set(name, this.#gpu.upload(name, [padded.length], half ? new Float16Array(padded) : padded));
	}

	/** Attention projections fused as q, k, v or as k, v have one bias; the key's is zero in every checkpoint. */
	#joinBiases(): void {
		const put = (name: string, ...parts: Float32Array[]) => {
			const joined = Float32Array.from(parts.flatMap((part) => [...part]));
			this.#tensors.set(name, this.#gpu.upload(name, [joined.length], joined));
		};
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
}

const LOOKED_UP = /(tok_embed|pos_embed|lvl_embed|class_emb|quantize\.embedding|shared|embed_tokens|(token|position)_embedding|relative_attention_bias)\.weight$|(cfg_uncond|scale_shift_table)$/;
/** What it multiplies leaves the range of f16 in the published sizes. */
const WIDE = /DenseReluDense\.wo\.weight$/;

const convolution = (shape: readonly number[]) => shape.length === 4 && shape[2] === 3 && shape[3] === 3;
const matrix = (name: string, shape: readonly number[]) => (shape.length === 2 || (shape.length === 4 && name.endsWith(".weight"))) && !LOOKED_UP.test(name);
const multiplied = (name: string, shape: readonly number[]) => convolution(shape) || matrix(name, shape);

/** Linear weights [n, k] and 1x1 convolutions become [k, n]; 3x3 convolutions [3, 3, in, out]; tables and vectors stay. */
function layOut(name: string, shape: readonly number[], data: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
	if (convolution(shape)) return convWeight(data, shape[0], shape[1]);
	return matrix(name, shape) ? transposeWeight(data, shape[0], shape[1]) : data;
}

function widen(dtype: string, bytes: Uint8Array): Float32Array<ArrayBuffer> {
	const buffer = bytes.slice().buffer as ArrayBuffer;
	if (dtype === "F32") return new Float32Array(buffer);
	if (dtype === "F16") return Float32Array.from(new Float16Array(buffer));
	throw new RangeError(`Weights of type ${dtype} are not supported; import the model as F32 or F16.`);
}

function pad4(data: Float32Array): Float32Array<ArrayBuffer> {
	const padded = new Float32Array(Math.ceil(data.length / 4) * 4);
	padded.set(data);
	return padded;
}
