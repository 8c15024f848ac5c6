/** Intermediate tensors for those who ask for them by name. */
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { copy } from "../../../kernels/tokens/gather.ts";

/** An intermediate tensor by its reference name (`s4.blk0.out`), row-major. */
export interface TappedTensor {
	name: string;
	shape: number[];
	data: Float32Array | Int32Array;
}
export interface Tap {
	/** Asked before the work: only wanted tensors are kept and read back. */
	wants(name: string): boolean;
	take(tensor: TappedTensor): void;
}

/** `count` elements of a tensor, from element `from` on; both are multiples of 4. */
interface Stretch {
	x: Tensor;
	from: number;
	count: number;
}

interface Pending {
	name: string;
	shape: number[];
	/** Floats copied. */
	count: number;
	/** One after the other. */
	tensors: Tensor[];
	view: (data: Float32Array) => Float32Array;
}

/**
 * Keeps copies of wanted tensors as they pass and hands them to the tap once the pass was submitted. Costs nothing when
 * off.
 */
export class Taps {
	#gpu: Gpu;
	#tap: Tap | undefined;
	#pending: Pending[] = [];

	constructor(gpu: Gpu, tap: Tap | undefined) {
		this.#gpu = gpu;
		this.#tap = tap;
	}

	/** Somebody may ask for some: where nobody does, no name need be put together. */
	get on(): boolean {
		return this.#tap !== undefined;
	}

	wants(name: string): boolean {
		return this.#tap?.wants(name) ?? false;
	}

	/** Copies `shape` floats of x, from float `from` on. `view` may reorder them on the host, to `options.shape`. */
	keep(
		pass: Pass,
		name: string,
		x: Tensor,
		shape: number[],
		options: { from?: number; view?: (data: Float32Array) => Float32Array; shape?: number[] } = {},
	): void {
		if (!this.wants(name)) return;
		const count = shape.reduce((product, size) => product * size, 1);
		this.keepAll(pass, name, [{ x, from: options.from ?? 0, count }], {
			shape: options.shape ?? shape,
			view: options.view,
		});
	}

	/** Copies stretches, one after the other, each as many tensors as a binding asks for; then as `keep`. */
	keepAll(
		pass: Pass,
		name: string,
		stretches: readonly Stretch[],
		{ shape, view = (data) => data }: { shape: number[]; view?: (data: Float32Array) => Float32Array },
	): void {
		if (!this.wants(name)) return;
		const most = Math.floor(this.#gpu.bindingBytes / 16) * 4;
		using made = new Scope(this.#gpu);
		const tensors: Tensor[] = [];
		for (const { x, from, count } of stretches)
			for (let at = 0; at < count; at += most) {
				const part = Math.min(most, count - at);
				const y = made.tensor(`tap ${name}`, [Math.ceil(part / 4) * 4]);
				copy(pass, { x, from: from + at, y, count: part, label: `tap ${name}` });
				tensors.push({ ...y, bytes: 4 * part });
			}
		const count = stretches.reduce((sum, stretch) => sum + stretch.count, 0);
		this.#pending.push({ name, shape, count, tensors, view });
		made.move();
	}

	/** For tensors that are on the host already. */
	give(name: string, shape: number[], data: () => Float32Array | Int32Array): void {
		if (this.wants(name)) this.#tap?.take({ name, shape, data: data() });
	}

	async flush(): Promise<void> {
		const pending = this.#pending.splice(0);
		if (pending.length === 0) return;
		try {
			const buffers = await this.#gpu.read(pending.flatMap(({ tensors }) => tensors));
			let next = 0;
			for (const { name, shape, count, tensors, view } of pending) {
				const parts = buffers.slice(next, (next += tensors.length)).map((buffer) => new Float32Array(buffer));
				this.#tap?.take({ name, shape, data: view(joined(parts, count)) });
			}
		} finally {
			this.#free(pending);
		}
	}

	destroy(): void {
		this.#free(this.#pending.splice(0));
	}

	#free(pending: readonly Pending[]): void {
		this.#gpu.free(...pending.flatMap(({ tensors }) => tensors));
	}
}

/** One after the other. */
function joined(parts: readonly Float32Array[], count: number): Float32Array {
	if (parts.length === 1) return parts[0];
	const all = new Float32Array(count);
	let at = 0;
	for (const part of parts) {
		all.set(part, at);
		at += part.length;
	}
	return all;
}

/** [height * width, stride] to [channels, height, width]: what lies beyond the channels is left out. */
export function channelsFirst(channels: number, stride = channels): (data: Float32Array) => Float32Array {
	return (data) => {
		const pixels = data.length / stride;
		const out = new Float32Array(pixels * channels);
		for (let p = 0; p < pixels; p++) for (let c = 0; c < channels; c++) out[c * pixels + p] = data[p * stride + c];
		return out;
	};
}

/** [rows, stride] to [rows, width]. */
export function firstColumns(width: number, stride: number): (data: Float32Array) => Float32Array {
	return (data) => {
		if (width === stride) return data;
		const out = new Float32Array((data.length / stride) * width);
		for (let row = 0; row * stride < data.length; row++)
			out.set(data.subarray(row * stride, row * stride + width), row * width);
		return out;
	};
}

/** [channels, pixels], as latents are tapped, to [pixels, channels], as the engine takes them. */
export function channelsLast(data: ArrayLike<number>, pixels: number): Float32Array<ArrayBuffer> {
	const channels = data.length / pixels;
	return Float32Array.from({ length: data.length }, (_, i) => data[(i % channels) * pixels + Math.floor(i / channels)]);
}

/**
 * Rows of keys and values, [.., 2 * width], to one of the two by guidance row and head: [starts, heads, keys, width /
 * heads]; `at` is where it begins in a row.
 */
export function cacheByHead(
	data: Float32Array,
	starts: number[],
	keys: number,
	heads: number,
	width: number,
	at: number,
): Float32Array {
	const headDim = width / heads;
	const out = new Float32Array(starts.length * keys * width);
	let i = 0;
	for (const start of starts) {
		for (let head = 0; head < heads; head++) {
			for (let key = 0; key < keys; key++) {
				for (let c = 0; c < headDim; c++) out[i++] = data[(start + key) * 2 * width + at + head * headDim + c];
			}
		}
	}
	return out;
}
