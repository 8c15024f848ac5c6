/**
 * The one place that calls WebGPU: counted buffers, compiled pipelines, one compute pass a submission, reading back.
 * Operators (the other files here) describe themselves as WGSL plus bindings and are recorded by a `Pass`.
 */

import type { Program } from "./kernel.ts";
import { type AdapterFacts, DeviceError, OutOfMemoryError, openDevice } from "./native/device.ts";
import { ARENA_BYTES, type Dispatch, Pass, type Recorded } from "./pass.ts";
import type { Tuning } from "./variants.ts";

/**
 * A dense row-major array on the device, or a part of a buffer: what every operator takes. Offsets are multiples of
 * 256.
 */
export interface Tensor {
	buffer: GPUBuffer;
	/** Bytes from the start of the buffer. */
	offset: number;
	/** Bytes bound; operators see nothing beyond them. */
	bytes: number;
	shape: readonly number[];
	/** Default f32 (or 32-bit words). */
	dtype?: "f16";
}

/** WGSL that the device refused, with the compiler's message and the numbered source. */
export class KernelError extends Error {
	override name = "KernelError";
}

/** Bind groups kept; a busy worker goes over its few shapes of rounds again and again. */
const MAX_GROUPS = 8192;

export class Gpu {
	readonly device: GPUDevice;
	readonly facts: AdapterFacts;
	/** The most that one binding holds, and so one tensor. */
	readonly bindingBytes: number;
	/** Variants measured on this adapter; empty where nothing was measured. */
	tuning: Tuning = {};
	/** Bytes of every live buffer made here. */
	bytes = 0;
	/** Settles when the device is gone, with the reason. */
	readonly lost: Promise<string>;
	#lost: string | undefined;
	#programs = new Map<Program, Compiled>();
	#failure: Error | undefined;
	/** The first tensor that there was no memory for: the cause of whatever fails after it. */
	#short: OutOfMemoryError | undefined;
	/** The first refused source: the cause of whatever fails after it. */
	#refused: KernelError | undefined;
	#checks: Promise<void>[] = [];
	/** Bind groups kept, of all programs. */
	#groups = 0;
	/** Tables and parameters of the submission that runs. */
	#arena: Tensor;
	/** While `compile` records: what would have been run. */
	#dry: Dispatch[] | undefined;
	/** Host copies of the arena that no pass is using. */
	#spare: Uint32Array<ArrayBuffer>[] = [];

	/** `bindingBytes`: a limit below the adapter's, to try what a smaller one would do. */
	constructor(device: GPUDevice, facts: AdapterFacts, bindingBytes = Infinity) {
		this.device = device;
		this.facts = facts;
		this.bindingBytes = Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize, bindingBytes);
		this.lost = device.lost.then((info) => (this.#lost = `${info.reason}: ${info.message}`));
		device.addEventListener("uncapturederror", (event) => {
			this.#failure ??= new KernelError((event as GPUUncapturedErrorEvent).error.message);
		});
		this.#arena = this.#allocate("arena", ARENA_BYTES, [ARENA_BYTES / 4], GPUBufferUsage.UNIFORM);
	}

	static async open(bindingBytes?: number): Promise<Gpu> {
		const { device, facts } = await openDevice();
		return new Gpu(device, facts, bindingBytes);
	}

	/**
	 * Makes an uninitialised (zeroed) tensor of 4-byte elements, or of f16. Throws when it is beyond the adapter's
	 * binding limit, or f16 and the adapter has none; where memory runs out, the next `allocated` or `read` rejects.
	 */
	tensor(label: string, shape: readonly number[], usage = 0, dtype?: "f16"): Tensor {
		if (dtype === "f16" && !this.device.features.has("shader-f16")) {
			throw new DeviceError(
				`${label} is to be f16, but this adapter (${this.facts.name}) has no shader-f16. Use f32, or another GPU or driver.`,
			);
		}
		const bytes = Math.max(
			16,
			Math.ceil(((dtype === "f16" ? 2 : 4) * shape.reduce((product, size) => product * size, 1)) / 4) * 4,
		);
		if (bytes > this.bindingBytes) {
			throw new OutOfMemoryError(
				`${label} needs a buffer of ${bytes} bytes; this adapter binds at most ${this.bindingBytes}. Use a smaller model or picture, or another GPU.`,
			);
		}
		return this.#allocate(label, bytes, shape, usage, dtype);
	}

	#allocate(label: string, bytes: number, shape: readonly number[], usage: number, dtype?: "f16"): Tensor {
		this.device.pushErrorScope("out-of-memory");
		const buffer = this.device.createBuffer({
			label,
			size: bytes,
			usage: usage | GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
		});
		const held = this.bytes;
		this.#checks.push(
			this.device.popErrorScope().then((error) => {
				if (!error || this.#short) return;
				this.#short = new OutOfMemoryError(
					`There is no device memory for ${label}, ${bytes} bytes beside the ${held} in use (${this.facts.name}).`,
				);
				// Whatever was to be written there is lost: who watches `lost` opens the device again.
				this.device.destroy();
			}),
		);
		this.bytes += bytes;
		return { buffer, offset: 0, bytes, shape, dtype };
	}

	/**
	 * Waits until every tensor made so far is known to be there. Rejects with OutOfMemoryError when one is not, and then
	 * the device is gone.
	 */
	async allocated(): Promise<void> {
		await Promise.all(this.#checks.splice(0));
		this.#assertAlive();
	}

	/** Whether so many bytes more can be had now, in tensors of at most `each`: takes them and gives them back. */
	async room(bytes: number, each = 2 ** 28): Promise<boolean> {
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
		return error === null;
	}

	/** A new tensor with this data. */
	upload(
		label: string,
		shape: readonly number[],
		data: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Float16Array<ArrayBuffer>,
	): Tensor {
		const tensor = this.tensor(label, shape, 0, data instanceof Float16Array ? "f16" : undefined);
		this.device.queue.writeBuffer(tensor.buffer, 0, data instanceof Float16Array ? halfWords(data) : data);
		return tensor;
	}

	/** Overwrites 32-bit words of a tensor, from word `at` on, before whatever is submitted next runs. */
	write(tensor: Tensor, at: number, words: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): void {
		this.device.queue.writeBuffer(tensor.buffer, at * 4, words);
	}

	/** A larger tensor that begins with this one's data; this one is freed. */
	grown(tensor: Tensor, shape: readonly number[]): Tensor {
		const larger = this.tensor(tensor.buffer.label, shape, 0, tensor.dtype);
		const encoder = this.device.createCommandEncoder({ label: `grow ${tensor.buffer.label}` });
		encoder.copyBufferToBuffer(tensor.buffer, 0, larger.buffer, 0, Math.min(tensor.bytes, larger.bytes));
		this.device.queue.submit([encoder.finish()]);
		this.free(tensor);
		return larger;
	}

	free(...tensors: Tensor[]): void {
		for (const { buffer } of tensors) {
			this.bytes -= buffer.size;
			buffer.destroy();
		}
	}

	/** Starts a submission: record, then `submit`. A pass that is not submitted leaves nothing behind. */
	pass(label: string): Pass {
		this.#assertAlive();
		const words = this.#spare.pop() ?? new Uint32Array(ARENA_BYTES / 4);
		return new Pass(this, label, this.#arena, words, (recorded, reads) => {
			const result = this.#dry ? this.#collect(recorded, reads) : this.#execute(label, words, recorded, reads);
			this.#spare.push(words);
			return result;
		});
	}

	/** One command buffer: a compute pass over the dispatches, then copies of what is read back. */
	#execute(
		label: string,
		words: Uint32Array<ArrayBuffer>,
		{ dispatches, used }: Recorded,
		reads: readonly Tensor[] | undefined,
	): Promise<ArrayBuffer[]> | undefined {
		const encoder = this.device.createCommandEncoder({ label });
		const pass = encoder.beginComputePass({ label });
		let set: GPUComputePipeline | undefined;
		for (const { label, program, bindings, groups } of dispatches) {
			const compiled = this.#compiled(label, program);
			if (compiled.pipeline !== set) pass.setPipeline((set = compiled.pipeline));
			pass.setBindGroup(0, this.#group(label, compiled, bindings));
			pass.dispatchWorkgroups(groups[0], groups[1], groups[2]);
		}
		pass.end();
		const staging = reads && this.#copyBack(encoder, reads);
		this.device.queue.writeBuffer(this.#arena.buffer, 0, words, 0, used / 4);
		this.device.queue.submit([encoder.finish()]);
		return staging && this.#map(staging, reads);
	}

	#collect({ dispatches }: Recorded, reads: readonly Tensor[] | undefined): Promise<ArrayBuffer[]> | undefined {
		this.#dry?.push(...dispatches);
		return reads && Promise.resolve(reads.map(({ bytes }) => new ArrayBuffer(bytes)));
	}

	/** While `compile` records: what is submitted does not run. */
	get compiling(): boolean {
		return this.#dry !== undefined;
	}

	/**
	 * Compiles, side by side, every pipeline that `record` would run; what it records is not run. Throws KernelError or
	 * DeviceError.
	 */
	async compile(record: () => void): Promise<void> {
		const dry: Dispatch[] = (this.#dry = []);
		try {
			record();
		} finally {
			this.#dry = undefined;
		}
		const programs = new Map(dry.map(({ program, label }) => [program, label]));
		const compiled = [...programs].map(async ([program, label]) => {
			if (this.#programs.has(program)) return;
			// What is wrong with a module comes again with its pipeline.
			this.device.pushErrorScope("validation");
			const module = this.device.createShaderModule({ label: program.name, code: program.code });
			this.device.popErrorScope();
			const pipeline = await this.device
				.createComputePipelineAsync(describe(program.name, module))
				.catch(async (error: Error) => {
					throw this.#lost ? this.#gone() : await refusal(label, program, module, error.message);
				});
			this.#programs.set(program, { pipeline, groups: new Map() });
		});
		await Promise.all(compiled);
	}

	/** Compiles a program once; a refusal surfaces at the next `read`. */
	#compiled(label: string, program: Program): Compiled {
		const known = this.#programs.get(program);
		if (known) return known;
		this.device.pushErrorScope("validation");
		const module = this.device.createShaderModule({ label: program.name, code: program.code });
		const pipeline = this.device.createComputePipeline(describe(program.name, module));
		this.#checks.push(
			this.device.popErrorScope().then(async (error) => {
				if (error) this.#refused ??= await refusal(label, program, module, error.message);
			}),
		);
		const compiled: Compiled = { pipeline, groups: new Map() };
		this.#programs.set(program, compiled);
		return compiled;
	}

	/**
	 * One bind group for the same program over the same parts of the same buffers: rounds of one shape repeat them all.
	 */
	#group(label: string, { pipeline, groups }: Compiled, tensors: readonly Tensor[]): GPUBindGroup {
		// Where the parts lie tells nearly all of them apart: the parameters of every dispatch lie elsewhere.
		let place = 0;
		for (const { offset, bytes } of tensors) place = Math.imul(Math.imul(place, 31) + offset, 31) + bytes;
		place |= 0;
		const first = groups.get(place);
		for (let kept = first; kept; kept = kept.next) if (sameParts(kept.tensors, tensors)) return kept.group;
		if (this.#groups >= MAX_GROUPS) {
			for (const program of this.#programs.values()) program.groups.clear();
			this.#groups = 0;
		}
		const entries = tensors.map(({ buffer, offset, bytes }, binding) => ({
			binding,
			resource: { buffer, offset, size: bytes },
		}));
		const group = this.device.createBindGroup({ label, layout: pipeline.getBindGroupLayout(0), entries });
		groups.set(place, { tensors, group, next: groups.get(place) });
		this.#groups++;
		return group;
	}

	/** Copies tensors back after all submitted work. Throws KernelError or DeviceError when that work failed. */
	async read(tensors: readonly Tensor[]): Promise<ArrayBuffer[]> {
		return this.pass("read").submit(tensors);
	}

	#copyBack(encoder: GPUCommandEncoder, tensors: readonly Tensor[]): GPUBuffer {
		const total = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
		const staging = this.device.createBuffer({
			label: "staging",
			size: Math.max(16, total),
			usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
		});
		this.bytes += staging.size;
		let at = 0;
		for (const { buffer, offset, bytes } of tensors) {
			encoder.copyBufferToBuffer(buffer, offset, staging, at, bytes);
			at += bytes;
		}
		return staging;
	}

	async #map(staging: GPUBuffer, tensors: readonly Tensor[]): Promise<ArrayBuffer[]> {
		try {
			await Promise.race([staging.mapAsync(GPUMapMode.READ), this.lost]);
			await Promise.all(this.#checks.splice(0));
			this.#assertAlive();
			const failure = this.#refused ?? this.#failure;
			if (failure) throw failure;
			const mapped = staging.getMappedRange();
			let at = 0;
			return tensors.map(({ bytes }) => mapped.slice(at, (at += bytes)));
		} finally {
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

/** In whole words, and as integers: Dawn's Node binding divides by the size of an element, 0 for a type it is not told of. */
function halfWords(data: Float16Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
	const words = new Uint16Array(data.buffer, data.byteOffset, data.length);
	if (words.length % 2 === 0) return words;
	const padded = new Uint16Array(words.length + 1);
	padded.set(words);
	return padded;
}

const describe = (label: string, module: GPUShaderModule): GPUComputePipelineDescriptor => ({
	label,
	layout: "auto",
	compute: { module, entryPoint: "main" },
});

/** A program's pipeline, and its bind groups by where the parts lie that they are of. */
interface Compiled {
	pipeline: GPUComputePipeline;
	groups: Map<number, KeptGroup>;
}
/** `next`: another one whose parts lie at the same places of other buffers. */
interface KeptGroup {
	tensors: readonly Tensor[];
	group: GPUBindGroup;
	next: KeptGroup | undefined;
}

/** Whether tensors are the same parts of the same buffers, one by one. */
function sameParts(a: readonly Tensor[], b: readonly Tensor[]): boolean {
	for (let i = 0; i < a.length; i++) {
		const [one, other] = [a[i], b[i]];
		if (one !== other && (one.buffer !== other.buffer || one.offset !== other.offset || one.bytes !== other.bytes))
			return false;
	}
	return true;
}

async function refusal(
	label: string,
	{ code }: Program,
	module: GPUShaderModule,
	message: string,
): Promise<KernelError> {
	const messages = (await module.getCompilationInfo()).messages.map((m) => `${m.lineNum}:${m.linePos} ${m.message}`);
	const source = code.split("\n").map((line, i) => `${i + 1}\t${line}`);
	return new KernelError(`${label}: ${[message, ...messages].join("\n")}\n${source.join("\n")}`);
}
