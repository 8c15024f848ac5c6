/**
 * The one place that calls WebGPU: counted buffers, compiled pipelines, one compute pass a submission, reading back.
 * Operators (the other folders of kernels/) describe themselves as WGSL plus bindings and are recorded by a `Pass`.
 * Which device it is, and where it came from, is the platform's: native/ and browser/ open one.
 */
import { DeviceError, KernelError, OutOfMemoryError } from "./errors.ts";
import type { AdapterFacts } from "./facts.ts";
import type { Program } from "./kernel.ts";
import { ARENA_BYTES, type Dispatch, Pass, type Recorded } from "./pass.ts";
import type { Profiler, Submission } from "./profile.ts";
import { type Tensor, tensorBytes } from "./tensor.ts";
import type { TuningStore } from "./tuning-store.ts";
import type { Tuning } from "./variants.ts";

export type { Tensor } from "./tensor.ts";

/** Bind groups kept; a busy worker goes over its few shapes of rounds again and again. */
const MAX_GROUPS = 8192;

/** What is wrong with work, or undefined where nothing is. */
type Verdict = Error | undefined;

export class Gpu {
	readonly device: GPUDevice;
	readonly facts: AdapterFacts;
	/** The most that one binding holds, and so one tensor. */
	readonly bindingBytes: number;
	/** Variants measured on this adapter; empty where nothing was measured. */
	tuning: Tuning = {};
	/** Where they are kept; undefined where the platform has no such place. */
	tuningStore: TuningStore | undefined;
	/** Measures what is submitted while it is set. */
	profiler: Profiler | undefined;
	/** Bytes of every live buffer made here. */
	bytes = 0;
	/** Settles when the device is gone, with the reason. */
	readonly lost: Promise<string>;
	#lost: string | undefined;
	#programs = new Map<Program, Compiled>();
	/** Programs that are refused, or not yet known to be good. */
	#doubts = new Map<Program, KernelError | Promise<KernelError | undefined>>();
	/** Of what was submitted and not read: they belong to the next read. */
	#unread: Promise<Verdict>[] = [];
	/** The first complaint about work outside any submission; the next read's too. */
	#stray: KernelError | undefined;
	/** Settle when it is known whether there was memory for a tensor. */
	#allocations = new Set<Promise<void>>();
	/** The first tensor that there was no memory for: the cause of whatever fails after it. */
	#short: OutOfMemoryError | undefined;
	/** Bind groups kept, of all programs. */
	#groups = 0;
	/** Tables and parameters of the submission that runs. */
	#arena: Tensor;
	/** While `compile` records: what would have been run. */
	#dry: Dispatch[] | undefined;
	/** Host copies of the arena that no pass is using. */
	#spare: Uint32Array<ArrayBuffer>[] = [];

	/** `bindingBytes`: another limit than the adapter's, to try what a smaller one would do. */
	constructor(device: GPUDevice, facts: AdapterFacts, bindingBytes = bindingLimit(device)) {
		this.device = device;
		this.facts = facts;
		this.bindingBytes = bindingBytes;
		this.lost = device.lost.then((info) => (this.#lost = `${info.reason}: ${info.message}`));
		device.addEventListener("uncapturederror", (event) => {
			this.#stray ??= new KernelError((event as GPUUncapturedErrorEvent).error.message);
		});
		this.#arena = this.#allocate("arena", ARENA_BYTES, [ARENA_BYTES / 4], GPUBufferUsage.UNIFORM);
	}

	/**
	 * Makes an uninitialised (zeroed) tensor of 4-byte elements, or of f16. Throws when it is beyond the adapter's
	 * binding limit, or f16 and the adapter has none; where memory runs out, the next `allocated` or `read` rejects.
	 */
	tensor(label: string, shape: readonly number[], usage = 0, dtype?: "f16"): Tensor {
		if (dtype === "f16" && !this.device.features.has("shader-f16")) {
			throw new DeviceError(
				`${label} is to be f16, but this adapter (${this.facts.name}) has no shader-f16. ` +
					"Use f32, or another GPU or driver.",
			);
		}
		const bytes = tensorBytes(shape, dtype);
		if (bytes > this.bindingBytes) {
			throw new OutOfMemoryError(
				`${label} needs a buffer of ${bytes} bytes; this adapter binds at most ${this.bindingBytes}. ` +
					"Use a smaller model or picture, or another GPU.",
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
		const begun = this.profiler ? performance.now() : 0;
		return new Pass(this, label, this.#arena, words, (recorded, reads) => {
			const result = this.#dry
				? this.#collect(recorded, reads)
				: this.#execute(label, words, recorded, reads, this.profiler?.submission(label, begun));
			this.#spare.push(words);
			return result;
		});
	}

	/**
	 * One command buffer: a compute pass over the dispatches, then copies of what is read back. What is wrong with it is
	 * told to whom it belongs: this submission's reader, else the next one.
	 */
	#execute(
		label: string,
		words: Uint32Array<ArrayBuffer>,
		{ dispatches, used }: Recorded,
		reads: readonly Tensor[] | undefined,
		profile: Submission | undefined,
	): Promise<ArrayBuffer[]> | undefined {
		for (const { label, program } of dispatches) if (!this.#programs.has(program)) this.#compile(label, program);
		const verdicts = this.#doubtsOf(dispatches);
		const refused = verdicts.find((verdict) => verdict instanceof KernelError);
		if (refused) return this.#refuse(refused, reads);
		this.device.pushErrorScope("validation");
		this.device.queue.writeBuffer(this.#arena.buffer, 0, words, 0, used / 4);
		let encoder = this.device.createCommandEncoder({ label });
		let pass = encoder.beginComputePass({ label });
		let set: GPUComputePipeline | undefined;
		for (const { label, program, bindings, groups } of dispatches) {
			if (profile) {
				({ encoder, pass } = profile.next({ encoder, pass }, label));
				set = undefined;
			}
			const compiled = this.#programs.get(program) as Compiled;
			if (compiled.pipeline !== set) pass.setPipeline((set = compiled.pipeline));
			pass.setBindGroup(0, this.#group(label, compiled, bindings));
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

	/** Those of these dispatches' programs, each once. */
	#doubtsOf(dispatches: readonly Dispatch[]): (KernelError | Promise<KernelError | undefined>)[] {
		if (this.#doubts.size === 0) return [];
		return [...new Set(dispatches.map(({ program }) => program))].flatMap((program) => this.#doubts.get(program) ?? []);
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
		for (const doubt of this.#doubtsOf(dry)) if (doubt instanceof KernelError) throw doubt;
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

	/** Compiles a program; until it is known to be good it is a doubt, and when it is refused it stays one. */
	#compile(label: string, program: Program): void {
		for (const kind of REFUSALS) this.device.pushErrorScope(kind);
		const module = this.device.createShaderModule({ label: program.name, code: program.code });
		const pipeline = this.device.createComputePipeline(describe(program.name, module));
		const errors = Promise.all(REFUSALS.map(() => verdictOf(this.device.popErrorScope(), wrong)));
		const verdict = errors.then(async (errors) => {
			const error = errors.find((error) => error !== undefined);
			const refused = error && (await refusal(label, program, module, error.message));
			if (refused) this.#doubts.set(program, refused);
			else this.#doubts.delete(program);
			return refused;
		});
		this.#doubts.set(program, verdict);
		this.#programs.set(program, { pipeline, groups: new Map() });
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
		try {
			const mapped = staging.mapAsync(GPUMapMode.READ).then(
				() => undefined,
				(error: Error) => error,
			);
			const unmapped = await Promise.race([mapped, this.lost.then(() => undefined)]);
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
const bindingLimit = ({ limits }: GPUDevice) => Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);

/** How a device says that it does not take a pipeline: its rules, or its driver. */
const REFUSALS = ["internal", "validation"] as const;

/** What an error scope caught; a lost device, which says so elsewhere, has caught nothing. */
const verdictOf = <E extends Error>(caught: Promise<GPUError | null>, as: (message: string) => E) =>
	caught.then(
		(error) => (error ? as(error.message) : undefined),
		() => undefined,
	);
const wrong = (message: string) => new KernelError(message);

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
	// A lost device has no more to say of it.
	const { messages: said } = await module.getCompilationInfo().catch(() => ({ messages: [] }));
	const messages = said.map((m) => `${m.lineNum}:${m.linePos} ${m.message}`);
	const source = code.split("\n").map((line, i) => `${i + 1}\t${line}`);
	return new KernelError(`${label}: ${[message, ...messages].join("\n")}\n${source.join("\n")}`);
}
