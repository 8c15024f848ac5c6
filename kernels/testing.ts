/** What the kernel tests share: named random data, and running operators with what they wrote read back. */
import type { Gpu } from "./gpu/gpu.ts";
import type { Pass } from "./gpu/pass.ts";
import { Scope } from "./gpu/scope.ts";
import type { Tensor } from "./gpu/tensor.ts";
import { philox } from "./sample/random.ts";

/** `count` floats, uniform in (-1, 1): the same for the same seed. */
export function randomFloats(count: number, seed: number): Float32Array<ArrayBuffer> {
	const out = new Float32Array(count);
	for (let i = 0; i < count; i += 4)
		out.set(
			philox([i, 0, 0, 0], [seed, 0])
				.map((bits) => (bits / 2 ** 32) * 2 - 1)
				.slice(0, count - i),
			i,
		);
	return out;
}

/** Tensors of one test, freed together. */
export class Bench implements Disposable {
	readonly gpu: Gpu;
	#scope: Scope;
	#seed = 1;

	constructor(gpu: Gpu) {
		this.gpu = gpu;
		this.#scope = new Scope(gpu);
	}

	/** Uploads what it is given. */
	put<T extends Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>>(
		data: T,
		shape: readonly number[] = [data.length],
	): { tensor: Tensor; data: T } {
		return { tensor: this.#scope.upload("test", shape, data), data };
	}

	/** Uploads random floats, each call others. */
	random(...shape: number[]): { tensor: Tensor; data: Float32Array<ArrayBuffer> } {
		return this.put(
			randomFloats(
				shape.reduce((a, b) => a * b, 1),
				this.#seed++,
			),
			shape,
		);
	}

	empty(...shape: number[]): Tensor {
		return this.put(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape).tensor;
	}

	/** Records and submits, then reads the tensors. */
	async run(record: (pass: Pass) => void, ...outputs: Tensor[]): Promise<Float32Array<ArrayBuffer>[]> {
		const pass = this.gpu.pass("test");
		record(pass);
		pass.submit();
		return (await this.gpu.read(outputs)).map((buffer, i) => new Float32Array(buffer, 0, size(outputs[i])));
	}

	[Symbol.dispose](): void {
		this.#scope[Symbol.dispose]();
	}
}

const size = (tensor: Tensor) => tensor.shape.reduce((a, b) => a * b, 1);

/** Same bits as unsigned words. */
export const words = (floats: Float32Array<ArrayBuffer>) =>
	new Uint32Array(floats.buffer, floats.byteOffset, floats.length);

/** Greatest absolute difference; Infinity when the lengths differ, or something is not finite. */
export function maxError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
	if (actual.length !== expected.length) return Infinity;
	let most = 0;
	for (let i = 0; i < actual.length; i++) {
		const error = Math.abs(actual[i] - expected[i]);
		if (!(error < Infinity)) return Infinity;
		most = Math.max(most, error);
	}
	return most;
}
