/**
 * Weights from a model folder to the device, laid out as the kernels read them: floats widened to f32 (or kept as f16),
 * whole numbers as they are. The family's list of tensors says what each becomes.
 */

import { DeviceError } from "../../../kernels/gpu/errors.ts";
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { convWeight } from "../../../kernels/image/conv.ts";
import type { Matrix } from "../../../kernels/matmul/matmul.ts";
import { type Quantised, quantisedWords } from "../../../kernels/matmul/quantised.ts";
import { transposeHalves, transposeWeight } from "../../../kernels/matmul/transpose.ts";
import { ModelFormatError } from "../../../model-shards/format/errors.ts";
import type { Folder } from "../../../model-shards/format/folder.ts";
import { halves } from "../../../model-shards/format/layout.ts";
import type { TensorEntry } from "../../../model-shards/format/manifest.ts";
import { toF32 } from "../../../model-shards/format/precision.ts";
import type { TensorShape } from "../../../model-shards/format/tensor-shapes.ts";
import { padded } from "./padded.ts";

/** What matrices and convolutions of floats are stored and multiplied in; sums, and everything else, are f32. */
export const DTYPES = ["f32", "f16"] as const;
export type Dtype = (typeof DTYPES)[number];

/** Stored tensors, and what the family makes of them. */
export interface WeightSource {
	manifest: { tensors: readonly TensorEntry[] };
	wanted: readonly TensorShape[];
	tensors: Folder["tensors"];
}

export interface Projection {
	weight: Matrix;
	bias?: Tensor;
}

export class Weights {
	#tensors: ReadonlyMap<string, Matrix>;
	#modules = new Map<string, Module>();
	#owned: Scope;

	private constructor(tensors: ReadonlyMap<string, Matrix>, owned: Scope) {
		this.#tensors = tensors;
		this.#owned = owned;
	}

	/**
	 * Reads every tensor of the folder; with f16 matrices and convolutions of floats are kept in half precision.
	 * `progress` gets bytes read so far and in all. Throws what the folder throws, with nothing left allocated.
	 */
	static async load(
		gpu: Gpu,
		{ manifest, wanted, tensors }: WeightSource,
		progress?: (done: number, total: number) => void,
		dtype: Dtype = "f32",
	): Promise<Weights> {
		using scope = new Scope(gpu);
		const loading = new Loading(gpu, scope, dtype, manifest.tensors, wanted);
		const total = manifest.tensors.reduce((sum, { bytes }) => sum + bytes, 0);
		let done = 0;
		for await (const { name, dtype, shape, bytes } of tensors()) {
			loading.put(name, dtype, shape, bytes);
			progress?.((done += bytes.byteLength), total);
		}
		const made = loading.finish();
		await gpu.allocated();
		return new Weights(made, scope.move());
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
	projection(name: string): Projection {
		return { weight: this.get(`${name}.weight`), bias: this.#tensors.get(`${name}.bias`) };
	}

	/** The tensors whose names begin so. */
	module(name: string): Module {
		let module = this.#modules.get(name);
		if (!module) this.#modules.set(name, (module = new Module(this, name)));
		return module;
	}

	destroy(): void {
		this.#owned[Symbol.dispose]();
		this.#tensors = new Map();
		this.#modules.clear();
	}
}

/**
 * A module's tensors by the rest of their names: every scale asks for them again, so each name is put together once.
 */
export class Module {
	#weights: Weights;
	#name: string;
	#tensors = new Map<string, Matrix>();
	#projections = new Map<string, Projection>();

	constructor(weights: Weights, name: string) {
		this.#weights = weights;
		this.#name = name;
	}

	/** As `Weights.get`. */
	get(name: string): Matrix {
		let tensor = this.#tensors.get(name);
		if (!tensor) this.#tensors.set(name, (tensor = this.#weights.get(`${this.#name}.${name}`)));
		return tensor;
	}

	/** As `Weights.projection`. */
	projection(name: string): Projection {
		let projection = this.#projections.get(name);
		if (!projection) this.#projections.set(name, (projection = this.#weights.projection(`${this.#name}.${name}`)));
		return projection;
	}
}

/** A matrix of whole numbers. */
interface QuantisedEntry {
	name: string;
	bits: Quantised["bits"];
	group: number;
	n: number;
	k: number;
}

/** The tensors as they come; scales and parts of vectors wait until all are there. */
class Loading {
	#gpu: Gpu;
	#scope: Scope;
	#dtype: Dtype;
	#wanted: ReadonlyMap<string, TensorShape>;
	/** By the matrix's name, and by that of its scales. */
	#quantised = new Map<string, QuantisedEntry>();
	#scaled = new Map<string, QuantisedEntry>();
	/** By the matrix's name, a tensor for each of its parts. */
	#scales = new Map<string, Tensor[]>();
	#parts = new Map<string, Float32Array>();
	#made = new Map<string, Matrix>();

	constructor(gpu: Gpu, scope: Scope, dtype: Dtype, stored: readonly TensorEntry[], wanted: readonly TensorShape[]) {
		this.#gpu = gpu;
		this.#scope = scope;
		this.#dtype = dtype;
		this.#wanted = new Map(wanted.map((tensor) => [tensor.name, tensor]));
		for (const { name, dtype, shape, quantization } of stored) {
			if (!quantization) continue;
			const [n, k] = shape;
			const quantised = { name, bits: dtype === "I8" ? 8 : 4, group: quantization.group, n, k } as const;
			this.#quantised.set(name, quantised);
			this.#scaled.set(quantization.scales, quantised);
		}
	}

	put(name: string, dtype: string, shape: readonly number[], bytes: Uint8Array<ArrayBuffer>): void {
		const quantised = this.#quantised.get(name);
		const scaled = this.#scaled.get(name);
		if (quantised) this.#putQuantised(quantised, bytes);
		else if (scaled) this.#putScales(name, scaled, toF32(dtype, bytes.slice()));
		else this.#putFloats(name, dtype, shape, bytes);
	}

	#putFloats(name: string, dtype: string, shape: readonly number[], bytes: Uint8Array<ArrayBuffer>): void {
		const wanted = this.#wanted.get(name);
		if (!wanted)
			throw new ModelFormatError(`Tensor ${name} is not of a model of this configuration. Import the model again.`);
		if (dtype === "F16" && wanted.layout === "matrix" && this.#half(wanted)) {
			this.#made.set(
				name,
				this.#halves(name, shape, new Float16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2)),
			);
			return;
		}
		const data = toF32(dtype, bytes.slice());
		if (wanted.joins) this.#parts.set(name, data);
		else this.#made.set(name, this.#laidOut(wanted, shape, data));
	}

	finish(): ReadonlyMap<string, Matrix> {
		for (const { name, bits, group } of this.#quantised.values()) {
			const scales = this.#scales.get(name) as Tensor[];
			let part = this.#made.get(name);
			for (let i = 0; part; i++, part = part.next) part.quantised = { bits, group, scales: scales[i] };
		}
		this.#joinParts();
		return this.#made;
	}

	#laidOut(wanted: TensorShape, shape: readonly number[], data: Float32Array<ArrayBuffer>): Matrix {
		const { name, layout } = wanted;
		const half = this.#half(wanted);
		const [n, k] = shape;
		switch (layout) {
			case "convolution":
				return inParts(
					columnParts(this.#gpu, n, 9 * padded(k) * (half ? 2 : 4)).map(([from, to]) =>
						this.#upload(name, convWeight(data.subarray(from * 9 * k, to * 9 * k), to - from, k), half, 9 * padded(k)),
					),
				);
			case "plain":
				if (wanted.lookup)
					return inParts(
						partsOf(this.#gpu, n, 4 * k, 1).map(([from, to]) =>
							this.#upload(name, pad4(data.subarray(from * k, to * k)), false, to - from),
						),
					);
				return this.#upload(name, pad4(data));
			case "rows":
				return inParts(
					partsOf(this.#gpu, n, 4 * padded(k), 1).map(([from, to]) =>
						this.#upload(name, padRows(data.subarray(from * k, to * k), k), false, to - from),
					),
				);
			case "matrix":
				return inParts(
					columnParts(this.#gpu, n, padded(k) * (half ? 2 : 4)).map(([from, to]) =>
						this.#upload(name, transposeWeight(data.subarray(from * k, to * k), to - from, k), half, padded(k)),
					),
				);
		}
	}

	#half(wanted: TensorShape): boolean {
		return this.#dtype === "f16" && halves(wanted);
	}

	/** A matrix of halves that stays one: most of a large model, and so the most of its loading. */
	#halves(name: string, [n, k]: readonly number[], data: Float16Array): Matrix {
		return inParts(
			columnParts(this.#gpu, n, padded(k) * 2).map(([from, to]) => {
				const part = transposeHalves(data.subarray(from * k, to * k), to - from, k);
				return this.#scope.upload(name, [padded(k), part.length / padded(k)], part);
			}),
		);
	}

	#putQuantised({ name, bits, n, k }: QuantisedEntry, packed: Uint8Array): void {
		const row = (k * bits) / 8;
		const parts = columnParts(this.#gpu, n, row).map(([from, to]) => {
			const words = quantisedWords(packed.subarray(from * row, to * row), bits, to - from, k);
			const uploaded = this.#scope.upload(name, [words.length], words);
			return { ...uploaded, shape: [k, Math.ceil((to - from) / 4) * 4] };
		});
		this.#made.set(name, inParts(parts));
	}

	#putScales(name: string, { name: matrix, bits, group, n, k }: QuantisedEntry, data: Float32Array<ArrayBuffer>): void {
		const groups = k / group;
		this.#scales.set(
			matrix,
			columnParts(this.#gpu, n, (k * bits) / 8).map(([from, to]) =>
				this.#upload(name, transposeWeight(data.subarray(from * groups, to * groups), to - from, groups)),
			),
		);
	}

	/** Parts of a vector, in the order of the family's list, each behind its zeros. */
	#joinParts(): void {
		const vectors = new Map<string, number[]>();
		for (const { name, joins } of this.#wanted.values()) {
			const data = this.#parts.get(name);
			if (!joins || !data) continue;
			const vector = vectors.get(joins.vector) ?? [];
			vectors.set(joins.vector, [...vector, ...new Float32Array(joins.zeros), ...data]);
		}
		for (const [name, vector] of vectors) this.#made.set(name, this.#upload(name, Float32Array.from(vector)));
	}

	/** `k`: rows of a matrix. */
	#upload(name: string, data: Float32Array<ArrayBuffer>, half = false, k?: number): Tensor {
		const shape = k === undefined ? [data.length] : [k, data.length / k];
		return this.#scope.upload(name, shape, half ? new Float16Array(data) : data);
	}
}

/** Ranges of the n columns of a matrix, each within what a binding holds. `bytes`: of a column. */
const columnParts = (gpu: Gpu, n: number, bytes: number) => partsOf(gpu, n, bytes, 4);

/** Ranges of n columns, or rows, `step` of them or several times as many within what a binding holds. */
function partsOf(gpu: Gpu, n: number, bytes: number, step: number): [from: number, to: number][] {
	const most = Math.floor(gpu.bindingBytes / bytes / step) * step;
	if (most === 0)
		throw new DeviceError(
			`${step} columns or rows of a tensor take ${step * bytes} bytes; this adapter binds at most ` +
				`${gpu.bindingBytes}. Use another GPU.`,
		);
	return Array.from({ length: Math.ceil(n / most) }, (_, i) => [i * most, Math.min(n, (i + 1) * most)]);
}

/** Parts of a matrix, one after the other. */
const inParts = (parts: readonly Tensor[]): Matrix =>
	parts.reduceRight<Matrix | undefined>((next, part) => ({ ...part, next }), undefined) as Matrix;

function pad4(data: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
	if (data.length % 4 === 0) return data;
	const longer = new Float32Array(padded(data.length));
	longer.set(data);
	return longer;
}

/** [n, k] with zeros behind every row, up to a multiple of 4. */
export function padRows(data: Float32Array<ArrayBuffer>, k: number): Float32Array<ArrayBuffer> {
	if (k % 4 === 0) return pad4(data);
	const longer = new Float32Array((data.length / k) * padded(k));
	for (let row = 0; row * k < data.length; row++) longer.set(data.subarray(row * k, (row + 1) * k), row * padded(k));
	return longer;
}
