import type { Tensor } from "./tensor.ts";
import type { Target } from "./variants.ts";

/** A word of the uniform parameters; bare numbers are u32. */
export type Word = { f32: number } | number;

/** One program over its bindings: plain data, until the pass is submitted. */
export interface Dispatch {
	label: string;
	/** WGSL with an entry point `main`. */
	code: string;
	/** Binding 0, the uniform parameters, and those after it. */
	bindings: readonly Tensor[];
	/** Workgroups in x, y, z. */
	groups: [number, number, number];
}
export interface Recorded {
	dispatches: readonly Dispatch[];
	/** Bytes of tables and parameters. */
	used: number;
}

export const ARENA_BYTES = 8 << 20;
const ALIGN = 256;

/**
 * Records what one submission runs, in order. Small tables and parameters travel in a shared arena, written at
 * submission.
 */
export class Pass {
	readonly gpu: Target;
	readonly label: string;
	#arena: Tensor;
	#words: Uint32Array<ArrayBuffer>;
	#floats: Float32Array<ArrayBuffer>;
	#used = 0;
	#dispatches: Dispatch[] = [];
	#afterwards: (() => void)[] = [];
	#submit: (recorded: Recorded, reads?: readonly Tensor[]) => Promise<ArrayBuffer[]> | undefined;

	/** By `Gpu.pass`. `words` is what the arena will hold. */
	constructor(
		gpu: Target,
		label: string,
		arena: Tensor,
		words: Uint32Array<ArrayBuffer>,
		submit: (recorded: Recorded, reads?: readonly Tensor[]) => Promise<ArrayBuffer[]> | undefined,
	) {
		this.gpu = gpu;
		this.label = label;
		this.#arena = arena;
		this.#words = words;
		this.#floats = new Float32Array(words.buffer);
		this.#submit = submit;
	}

	/** Puts a small table of 32-bit words on the device for this submission. */
	table(words: ArrayLike<number>): Tensor {
		const table = this.#reserve(words.length);
		this.#words.set(words, table.offset / 4);
		return table;
	}

	/**
	 * Records one dispatch: `params` become the uniform at binding 0, `bindings` follow from 1. Nothing is recorded when
	 * a number of workgroups is 0.
	 */
	run(
		label: string,
		code: string,
		params: readonly Word[],
		bindings: readonly Tensor[],
		[x, y = 1, z = 1]: readonly [number, number?, number?],
	): void {
		if (x * y * z === 0) return;
		const uniform = this.#reserve(Math.ceil(params.length / 4) * 4);
		const at = uniform.offset / 4;
		this.#words.fill(0, at + params.length, at + uniform.bytes / 4);
		params.forEach((word, i) => {
			if (typeof word === "number") this.#words[at + i] = word;
			else this.#floats[at + i] = word.f32;
		});
		this.#dispatches.push({ label, code, bindings: [uniform, ...bindings], groups: [x, y, z] });
	}

	/** Runs `free` when this pass has been submitted: for tensors that only it uses. */
	afterwards(free: () => void): void {
		this.#afterwards.push(free);
	}

	/**
	 * Submits; with `reads`, also copies those tensors back in the same submission. Rejects with KernelError or
	 * DeviceError when the work failed.
	 */
	submit(): void;
	submit(reads: readonly Tensor[]): Promise<ArrayBuffer[]>;
	submit(reads?: readonly Tensor[]): Promise<ArrayBuffer[]> | undefined {
		const read = this.#submit({ dispatches: this.#dispatches, used: this.#used }, reads);
		for (const free of this.#afterwards) free();
		return read;
	}

	#reserve(words: number): Tensor {
		const bytes = Math.max(16, words * 4);
		const offset = this.#used;
		this.#used += Math.ceil(bytes / ALIGN) * ALIGN;
		if (this.#used > ARENA_BYTES)
			throw new RangeError(`${this.label}: a submission has more tables than its arena holds; split it.`);
		return { buffer: this.#arena.buffer, offset, bytes, shape: [words] };
	}
}
