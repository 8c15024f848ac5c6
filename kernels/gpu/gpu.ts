/**
 * The one place that calls WebGPU, with programs.ts: counted buffers, one compute pass a submission, reading back.
 * Operators (the other folders of kernels/) describe themselves as WGSL plus bindings and are recorded by a `Pass`.
 * Which device it is, and where it came from, is the platform's: native/ and browser/ open one.
 */
import { DeviceError, KernelError, OutOfMemoryError, SlowAdapterError } from "./errors.ts";
import type { AdapterFacts } from "./facts.ts";
import type { Program } from "./kernel.ts";
import { MemoryTurns } from "./memory-turns.ts";
import { ARENA_BYTES, type Dispatch, Pass, type Recorded } from "./pass.ts";
import type { Profiler, Submission } from "./profile.ts";
import { type CompileProgress, Programs } from "./programs.ts";
import { type Tensor, tensorBytes } from "./tensor.ts";
import type { TuningStore } from "./tuning-store.ts";
import { Choices, type Tunable, type Tuning, type Variant } from "./variants.ts";
import { type Verdict, verdictOf, wrong } from "./verdicts.ts";

/** After this part of its patience it is guessed how long an adapter will take. */
const SOONEST = 0.2;

export class Gpu {
	readonly device: GPUDevice;
	readonly facts: AdapterFacts;
	/** The most that one binding holds, and so one tensor that is bound whole. */
	readonly bindingBytes: number;
	/** The most that one buffer holds, and so one long tensor. */
	readonly bufferBytes: number;
	/** Where they are kept; undefined where the platform has no such place. */
	tuningStore: TuningStore | undefined;
	/** Told how far compiling is. */
	compiling: CompileProgress | undefined;
	/** Milliseconds that compiling may take, where another adapter would do; by default as long as it takes. */
	patience: number | undefined;
	/** Measures what is submitted while it is set. */
	profiler: Profiler | undefined;
	/** Bytes of every live buffer made here. */
	bytes = 0;
	/** Of those who try out what there is (`room`) and take it then. */
	readonly memoryTurns = new MemoryTurns();
	/** Settles when the device is gone, with the reason. */
	readonly lost: Promise<string>;
	#tuning: Tuning = {};
	#choices = new Choices();
	#lost: string | undefined;
	#programs: Programs;
	/** Of what was submitted and not read: they belong to the next read. */
	#unread: Promise<Verdict>[] = [];
	/** The first complaint about work outside any submission; the next read's too. */
	#stray: KernelError | undefined;
	/** Settle when it is known whether there was memory for a tensor. */
	#allocations = new Set<Promise<void>>();
	/** The first tensor that there was no memory for: the cause of whatever fails after it. */
	#short: OutOfMemoryError | undefined;
	/** Tables and parameters of the submission that runs: one arena mostly, more where they are many. */
	#arenas: Tensor[] = [];
	/** While a rehearsal records: what would be run. */
	#dry: Dispatch[] | undefined;
	/** Reads under way give up when the device is gone. */
	#reading = new Set<(nothing: undefined) => void>();
	/** Host copies of an arena that no pass is using. */
	#spare: Uint32Array<ArrayBuffer>[] = [];

	/** `bindingBytes`, `bufferBytes`: other limits than the device's, to try what smaller ones would do. */
	constructor(
		device: GPUDevice,
		facts: AdapterFacts,
		bindingBytes = bindingLimit(device),
		bufferBytes = device.limits.maxBufferSize,
	) {
		this.device = device;
		this.facts = facts;
		this.bindingBytes = bindingBytes;
		this.bufferBytes = Math.max(bindingBytes, bufferBytes);
		this.lost = device.lost.then((info) => {
			this.#lost = `${info.reason}: ${info.message}`;
			for (const giveUp of this.#reading) giveUp(undefined);
			return this.#lost;
		});
		this.#programs = new Programs(device, () => (this.#lost ? this.#gone() : undefined), facts.late);
		device.addEventListener("uncapturederror", (event) => {
			this.#stray ??= new KernelError((event as GPUUncapturedErrorEvent).error.message);
		});
		this.#arenaAt(0);
	}

	/** Variants measured on this adapter; empty where nothing was measured. */
	get tuning(): Tuning {
		return this.#tuning;
	}

	set tuning(tuning: Tuning) {
		this.#tuning = tuning;
		this.#choices.clear();
	}

	/** Which variant of an operator runs at a shape. */
	choice<S, V extends Variant>(tunable: Tunable<S, V>, shape: S): V {
		return this.#choices.of(this, tunable, shape);
	}

	/**
	 * Makes an uninitialised (zeroed) tensor of 4-byte elements, or of f16. Throws when it is beyond the adapter's
	 * binding limit, or f16 and the adapter has none; where memory runs out, the next `allocated` or `read` rejects.
	 */
	tensor(label: string, shape: readonly number[], usage = 0, dtype?: "f16"): Tensor {
		const bytes = this.#fitting(label, shape, dtype, this.bindingBytes, "binds");
		return this.#allocate(label, bytes, shape, usage, dtype);
	}

	/**
	 * As `tensor`, but it may be longer than a binding: what works on it takes windows of its rows (windows.ts). Throws
	 * where no buffer holds it.
	 */
	long(label: string, shape: readonly number[], dtype?: "f16"): Tensor {
		const bytes = this.#fitting(label, shape, dtype, this.bufferBytes, "has buffers of");
		return this.#allocate(label, bytes, shape, 0, dtype);
	}

	#fitting(label: string, shape: readonly number[], dtype: "f16" | undefined, most: number, does: string): number {
		if (dtype === "f16" && !this.device.features.has("shader-f16")) {
			throw new DeviceError(
				`${label} is to be f16, but this adapter (${this.facts.name}) has no shader-f16. ` +
					"Use f32, or another GPU or driver.",
			);
		}
		const bytes = tensorBytes(shape, dtype);
		if (bytes <= most) return bytes;
		throw new OutOfMemoryError(
			`${label} needs a buffer of ${bytes} bytes; this adapter ${does} at most ${most}. ` +
				"Use a smaller model or picture, or another GPU.",
		);
	}

	#allocate(label: string, bytes: number, shape: readonly number[], usage: number, dtype?: "f16"): Tensor {
		this.device.pushErrorScope("out-of-memory");
		const buffer = this.device.createBuffer({
			label,
			size: bytes,
			usage: usage | GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
		});
		const held = this.bytes;
		const known = this.device.popErrorScope().then((error) => {
			this.#allocations.delete(known);
			if (!error || this.#short) return;
			this.#short = new OutOfMemoryError(
				`There is no device memory for ${label}, ${bytes} bytes beside the ${held} in use (${this.facts.name}).`,
			);
			// Whatever was to be written there is lost: who watches `lost` opens the device again.
			this.device.destroy();
		});
		this.#allocations.add(known);
		this.bytes += bytes;
		return { buffer, offset: 0, bytes, shape, dtype };
	}

	/**
	 * Waits until every tensor made so far is known to be there. Rejects with OutOfMemoryError when one is not, and then
	 * the device is gone.
	 */
	async allocated(): Promise<void> {
		await Promise.all(this.#allocations);
		this.#assertAlive();
	}

	/**
	 * Whether so many bytes more can be had now, in tensors of at most `each`: takes them and gives them back. In one of
	 * the `memoryTurns`, which lasts until they are taken for good.
	 */
	async room(bytes: number, each = 2 ** 28): Promise<boolean> {
		await this.reclaim();
		const most = Math.min(each, this.device.limits.maxBufferSize);
		this.device.pushErrorScope("out-of-memory");
		const taken = Array.from({ length: Math.ceil(bytes / most) }, (_, i) =>
			this.device.createBuffer({
				label: "room",
				size: Math.ceil(Math.min(most, bytes - i * most) / 4) * 4,
				usage: GPUBufferUsage.STORAGE,
			}),
		);
		const error = await this.device.popErrorScope();
		for (const buffer of taken) buffer.destroy();
		await this.reclaim();
		return error === null;
	}

	/**
	 * Waits until what was freed is the driver's again: Dawn gives a destroyed buffer's memory back after a later
	 * submission.
	 */
	async reclaim(): Promise<void> {
		const buffer = this.device.createBuffer({ label: "reclaim", size: 4, usage: GPUBufferUsage.COPY_DST });
		const encoder = this.device.createCommandEncoder({ label: "reclaim" });
		encoder.clearBuffer(buffer);
		this.device.queue.submit([encoder.finish()]);
		await this.device.queue.onSubmittedWorkDone();
		buffer.destroy();
	}

	/** A new tensor with this data; `long` as `long`. */
	upload(
		label: string,
		shape: readonly number[],
		data: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Float16Array<ArrayBuffer>,
		long = false,
	): Tensor {
		const dtype = data instanceof Float16Array ? "f16" : undefined;
		const tensor = long ? this.long(label, shape, dtype) : this.tensor(label, shape, 0, dtype);
		this.device.queue.writeBuffer(tensor.buffer, 0, data instanceof Float16Array ? halfWords(data) : data);
		return tensor;
	}

	/** Overwrites 32-bit words of a tensor, from word `at` on, before whatever is submitted next runs. */
	write(tensor: Tensor, at: number, words: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): void {
		this.device.queue.writeBuffer(tensor.buffer, at * 4, words);
	}

	free(...tensors: Tensor[]): void {
		for (const { buffer } of tensors) {
			this.bytes -= buffer.size;
			this.#programs.forget(buffer);
			buffer.destroy();
		}
	}

	/** Starts a submission: record, then `submit`. A pass that is disposed of in its place leaves nothing behind. */
	pass(label: string): Pass {
		this.#assertAlive();
		const begun = this.profiler ? performance.now() : 0;
		const nextArena = (index: number) => ({
			tensor: this.#arenaAt(index),
			words: this.#spare.pop() ?? new Uint32Array(ARENA_BYTES / 4),
		});
		return new Pass(this, label, nextArena, (recorded, reads) => {
			const result = this.#dry
				? this.#collect(recorded, reads)
				: this.#execute(label, recorded, reads, this.profiler?.submission(label, begun));
			for (const { words } of recorded.arenas) this.#spare.push(words);
			return result;
		});
	}

	/** Of `bytes`, those of the arenas: made where submissions need them, and kept for the next ones. */
	get arenaBytes(): number {
		return this.#arenas.length * ARENA_BYTES;
	}

	#arenaAt(index: number): Tensor {
		return (this.#arenas[index] ??= this.#allocate("arena", ARENA_BYTES, [ARENA_BYTES / 4], GPUBufferUsage.UNIFORM));
	}

	/**
	 * One command buffer: a compute pass over the dispatches, then copies of what is read back. What is wrong with it is
	 * told to whom it belongs: this submission's reader, else the next one.
	 */
	#execute(
		label: string,
		{ dispatches, arenas }: Recorded,
		reads: readonly Tensor[] | undefined,
		profile: Submission | undefined,
	): Promise<ArrayBuffer[]> | undefined {
		const verdicts = this.#programs.prepare(dispatches);
		const refused = verdicts.find((verdict) => verdict instanceof KernelError);
		if (refused) return this.#refuse(refused, reads);
		this.device.pushErrorScope("validation");
		for (const { tensor, words, used } of arenas) this.device.queue.writeBuffer(tensor.buffer, 0, words, 0, used / 4);
		let encoder = this.device.createCommandEncoder({ label });
		let pass = encoder.beginComputePass({ label });
		let set: GPUComputePipeline | undefined;
		for (const { label, program, bindings, groups } of dispatches) {
			if (profile) {
				({ encoder, pass } = profile.next({ encoder, pass }, label));
				set = undefined;
			}
			const compiled = this.#programs.get(program);
			if (compiled.pipeline !== set) pass.setPipeline((set = compiled.pipeline));
			pass.setBindGroup(0, this.#programs.group(label, compiled, bindings));
			pass.dispatchWorkgroups(groups[0], groups[1], groups[2]);
		}
		pass.end();
		const staging = reads && this.#copyBack(encoder, reads);
		profile?.encoded(encoder);
		this.device.queue.submit([encoder.finish()]);
		profile?.submitted();
		this.#unread.push(...verdicts.map(async (verdict) => verdict), verdictOf(this.device.popErrorScope(), wrong));
		return staging && this.#map(staging, reads, this.#unread.splice(0), profile);
	}

	/** Nothing of a submission with a refused pipeline would run: it is not made at all. */
	#refuse(refused: KernelError, reads: readonly Tensor[] | undefined): Promise<never> | undefined {
		if (reads) return Promise.reject(refused);
		this.#unread.push(Promise.resolve(refused));
	}

	#collect({ dispatches }: Recorded, reads: readonly Tensor[] | undefined): Promise<ArrayBuffer[]> | undefined {
		this.#dry?.push(...dispatches);
		return reads && Promise.resolve(reads.map(({ bytes }) => new ArrayBuffer(bytes)));
	}

	/** While a rehearsal records: what is submitted does not run. */
	get rehearsing(): boolean {
		return this.#dry !== undefined;
	}

	/** The programs that `record` would run, in that order, by a label of each; what it records is not run. */
	rehearse(record: () => void): Map<Program, string> {
		const dry: Dispatch[] = (this.#dry = []);
		try {
			record();
		} finally {
			this.#dry = undefined;
		}
		return new Map(dry.map(({ program, label }) => [program, label]));
	}

	/**
	 * Compiles programs ahead of their use, in their order and as many side by side as the driver does. Throws
	 * KernelError, DeviceError, SlowAdapterError where `patience` is at its end, and what `compiling` throws.
	 */
	async compile(programs: ReadonlyMap<Program, string>): Promise<void> {
		const begun = performance.now();
		await this.#programs.compile(programs, (done, total) => {
			this.compiling?.(done, total);
			this.#assertPatience(done, total, performance.now() - begun);
		});
	}

	/** Settles when those of these programs that are being compiled are there. Rejects as `compile` does. */
	async compiled(programs: Iterable<Program>): Promise<void> {
		await this.#programs.compiled(programs);
	}

	#assertPatience(done: number, total: number, passed: number): void {
		if (this.patience === undefined || done === total) return;
		const expected = passed < this.patience * SOONEST ? 0 : (passed / Math.max(1, done)) * total;
		if (Math.max(passed, expected) <= this.patience) return;
		throw new SlowAdapterError(
			`${this.facts.name} compiled ${done} of ${total} kernels in ${(passed / 1000).toFixed(1)} s.`,
		);
	}

	/** Copies tensors back after all submitted work. Throws KernelError or DeviceError when that work failed. */
	async read(tensors: readonly Tensor[]): Promise<ArrayBuffer[]> {
		return this.pass("read").submit(tensors);
	}

	/** Where there is no memory for it, this read fails and nothing else does. */
	#copyBack(encoder: GPUCommandEncoder, tensors: readonly Tensor[]): GPUBuffer {
		const total = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
		this.device.pushErrorScope("out-of-memory");
		const staging = this.device.createBuffer({
			label: "staging",
			size: Math.max(16, total),
			usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
		});
		const held = `${this.bytes} in use (${this.facts.name})`;
		const short = `There is no device memory to read ${total} bytes beside the ${held}.`;
		this.#unread.push(verdictOf(this.device.popErrorScope(), () => new OutOfMemoryError(short)));
		this.bytes += staging.size;
		let at = 0;
		for (const { buffer, offset, bytes } of tensors) {
			encoder.copyBufferToBuffer(buffer, offset, staging, at, bytes);
			at += bytes;
		}
		return staging;
	}

	async #map(
		staging: GPUBuffer,
		tensors: readonly Tensor[],
		verdicts: readonly Promise<Verdict>[],
		profile: Submission | undefined,
	): Promise<ArrayBuffer[]> {
		// Of its own: what waits for `lost` itself is kept as long as the device is there.
		const { promise: gone, resolve: giveUp } = Promise.withResolvers<undefined>();
		this.#reading.add(giveUp);
		if (this.#lost) giveUp(undefined);
		try {
			const mapped = staging.mapAsync(GPUMapMode.READ).then(
				() => undefined,
				(error: Error) => error,
			);
			const unmapped = await Promise.race([mapped, gone]);
			await this.allocated();
			const failure = (await Promise.all(verdicts)).find((verdict) => verdict) ?? this.#stray ?? unmapped;
			this.#stray = undefined;
			if (failure) throw failure;
			profile?.came();
			const range = staging.getMappedRange();
			let at = 0;
			const data = tensors.map(({ bytes }) => range.slice(at, (at += bytes)));
			profile?.copied();
			return data;
		} finally {
			this.#reading.delete(giveUp);
			this.bytes -= staging.size;
			staging.destroy();
		}
	}

	#assertAlive(): void {
		if (this.#lost || this.#short) throw this.#gone();
	}

	#gone(): DeviceError {
		return this.#short ?? new DeviceError(`The GPU device was lost (${this.#lost}). Open it again.`);
	}

	destroy(): void {
		this.device.destroy();
	}
}

/**
 * In whole words, and as integers: Dawn's Node binding divides by the size of an element, 0 for a type it is not told
 * of.
 */
function halfWords(data: Float16Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
	const words = new Uint16Array(data.buffer, data.byteOffset, data.length);
	if (words.length % 2 === 0) return words;
	const padded = new Uint16Array(words.length + 1);
	padded.set(words);
	return padded;
}

/** The most that one binding holds. */
export const bindingLimit = ({ limits }: GPUDevice) =>
	Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
