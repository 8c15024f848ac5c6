import type { Gpu } from "./gpu.ts";
import type { Bindings, Call, Fields, Kernel, Program, Struct, Values } from "./kernel.ts";
import { Scope } from "./scope.ts";
import { type Tensor, tensorBytes } from "./tensor.ts";

/** One program over its bindings: plain data, until the pass is submitted. */
export interface Dispatch {
	/** What runs here, for people. */
	label: string;
	/** What its pipeline is made of: the same object wherever it is the same. */
	program: Program;
	/** In the order of their numbers, the uniform parameters first where there are any. */
	bindings: readonly Tensor[];
	/** Workgroups in x, y, z. */
	groups: readonly [number, number, number];
}
export interface Recorded {
	dispatches: readonly Dispatch[];
	/** Where tables and parameters are to lie. */
	arenas: readonly Arena[];
}

/** A tensor for tables and parameters, and what its first `used` bytes will be. */
export interface Arena {
	tensor: Tensor;
	words: Uint32Array<ArrayBuffer>;
	used: number;
}

export const ARENA_BYTES = 8 << 20;
const ALIGN = 256;

/** An operator that takes no windows was given a long tensor. */
const tooLong = ({ bindingBytes }: Gpu, label: string, { name }: Pick<Kernel, "name">, bytes: number): RangeError =>
	new RangeError(`${label}: ${name} binds ${bytes} bytes; this adapter binds at most ${bindingBytes}.`);

/**
 * Records what one submission runs, in order. Small tables and parameters travel in arenas that all submissions share,
 * written at submission. Dispose of one whose recording may throw: what only it needs is freed then, too.
 */
export class Pass implements Disposable {
	readonly gpu: Gpu;
	readonly label: string;
	/** The last one is being filled. */
	readonly #arenas: Arena[] = [];
	readonly #nextArena: (index: number) => Omit<Arena, "used">;
	#arena!: Arena;
	#floats!: Float32Array<ArrayBuffer>;
	#dispatches: Dispatch[] = [];
	#afterwards: ((read: Promise<unknown> | undefined) => void)[] = [];
	#scratch = new Map<string, Tensor>();
	#owned: Scope;
	#submit: (recorded: Recorded, reads?: readonly Tensor[]) => Promise<ArrayBuffer[]> | undefined;

	/** By `Gpu.pass`. `nextArena`: the one of that number. */
	constructor(
		gpu: Gpu,
		label: string,
		nextArena: (index: number) => Omit<Arena, "used">,
		submit: (recorded: Recorded, reads?: readonly Tensor[]) => Promise<ArrayBuffer[]> | undefined,
	) {
		this.gpu = gpu;
		this.label = label;
		this.#owned = new Scope(gpu);
		this.#nextArena = nextArena;
		this.#submit = submit;
		this.#goOn();
	}

	/** Puts a small table of 32-bit words on the device for this submission. */
	table(words: ArrayLike<number>): Tensor {
		const table = this.#reserve(words.length);
		this.#arena.words.set(words, table.offset / 4);
		return table;
	}

	/** Puts a table of structs on the device for this submission. */
	rows<F extends Fields>(struct: Struct<F>, rows: readonly Values<F>[]): Tensor {
		const table = this.#reserve(rows.length * struct.words);
		const at = table.offset / 4;
		rows.forEach((row, i) => struct.pack(row, this.#arena.words, this.#floats, at + i * struct.words));
		return table;
	}

	/** Records one dispatch. Throws RangeError where a tensor is missing or of a kind that the kernel does not read. */
	run<P extends Fields, B extends Bindings, O extends object>(kernel: Kernel<P, B, O>, call: Call<P, B, O>): void {
		const { label, options, params, bindings: tensors, groups } = call;
		const x = groups[0];
		const y = groups[1] ?? 1;
		const z = groups[2] ?? 1;
		if (x * y * z === 0) return;
		const bindings = kernel.params && params ? [this.#uniform(kernel.params, params)] : [];
		const program = kernel.program(label, options, tensors, bindings);
		for (const { bytes } of bindings) if (bytes > this.gpu.bindingBytes) throw tooLong(this.gpu, label, kernel, bytes);
		this.#dispatches.push({ label, program, bindings, groups: [x, y, z] });
	}

	/**
	 * A tensor for what only this submission needs, from one dispatch to the next: the same one for the same label, where
	 * that is large enough.
	 */
	scratch(label: string, shape: readonly number[]): Tensor {
		const kept = this.#scratch.get(label);
		if (kept && kept.bytes >= tensorBytes(shape)) return kept;
		const made = this.own(this.gpu.tensor(label, shape));
		this.#scratch.set(label, made);
		return made;
	}

	/** Takes over a whole tensor that only this submission needs. */
	own(tensor: Tensor): Tensor {
		return this.#owned.own(tensor);
	}

	/**
	 * Runs `then` when this pass has been submitted. `read`: what it reads back, where it does; that rejects where the
	 * work failed.
	 */
	afterwards(then: (read: Promise<unknown> | undefined) => void): void {
		this.#afterwards.push(then);
	}

	/**
	 * Submits; with `reads`, also copies those tensors back in the same submission. Rejects with KernelError or
	 * DeviceError when the work failed.
	 */
	submit(): void;
	submit(reads: readonly Tensor[]): Promise<ArrayBuffer[]>;
	submit(reads?: readonly Tensor[]): Promise<ArrayBuffer[]> | undefined {
		const read = this.#submit({ dispatches: this.#dispatches, arenas: this.#arenas }, reads);
		for (const then of this.#afterwards) then(read);
		this[Symbol.dispose]();
		return read;
	}

	/** Frees what only this pass needs: once it was submitted, or where it never will be. */
	[Symbol.dispose](): void {
		this.#owned[Symbol.dispose]();
	}

	#uniform<P extends Fields>(struct: Struct<P>, params: Values<P>): Tensor {
		const uniform = this.#reserve(Math.ceil(struct.words / 4) * 4);
		const at = uniform.offset / 4;
		const { words } = this.#arena;
		for (let i = at + struct.words; i < at + uniform.bytes / 4; i++) words[i] = 0;
		struct.pack(params, words, this.#floats, at);
		return uniform;
	}

	#reserve(words: number): Tensor {
		const bytes = Math.max(16, words * 4);
		const taken = Math.ceil(bytes / ALIGN) * ALIGN;
		if (taken > ARENA_BYTES)
			throw new RangeError(`${this.label}: a table of ${bytes} bytes; at most ${ARENA_BYTES} are possible.`);
		if (this.#arena.used + taken > ARENA_BYTES) this.#goOn();
		const { tensor, used: offset } = this.#arena;
		this.#arena.used += taken;
		return { buffer: tensor.buffer, offset, bytes, shape: [words], dtype: undefined };
	}

	/** In another arena. */
	#goOn(): void {
		this.#arena = { ...this.#nextArena(this.#arenas.length), used: 0 };
		this.#floats = new Float32Array(this.#arena.words.buffer);
		this.#arenas.push(this.#arena);
	}
}
