/** What runs on a device: programs compiled once each, and the bind groups that were made for them. */
import { type DeviceError, KernelError } from "./errors.ts";
import type { Program } from "./kernel.ts";
import type { Dispatch } from "./pass.ts";
import type { Tensor } from "./tensor.ts";
import { verdictOf, wrong } from "./verdicts.ts";

/** Bind groups kept; a busy worker goes over its few shapes of rounds again and again. */
const MAX_GROUPS = 8192;

/** Programs that are compiled at a time where they can be: a core each. */
const SIDE_BY_SIDE = navigator.hardwareConcurrency || 4;

/** A program's pipeline, and its bind groups by where the parts lie that they are of. */
export interface Compiled {
	pipeline: GPUComputePipeline;
	groups: Map<number, KeptGroup>;
}
/** `next`: another one whose parts lie at the same places of other buffers. */
interface KeptGroup {
	of: Compiled;
	/** By which it is found there. */
	place: number;
	tensors: readonly Tensor[];
	group: GPUBindGroup;
	next: KeptGroup | undefined;
	/** What was asked for after it the last time. */
	after: KeptGroup | undefined;
}

/** How far compiling is: pipelines so far, of how many. What it throws ends it. */
export type CompileProgress = (done: number, total: number) => void;

/** Of a program: that it is refused, or what will tell. */
type Doubt = KernelError | Promise<KernelError | undefined>;

export class Programs {
	#device: GPUDevice;
	#gone: () => DeviceError | undefined;
	/** The driver compiles a program when it first runs. */
	#late: boolean;
	/** Programs that are compiled at a time: what runs to be compiled does so one after the other. */
	#most: number;
	/** What a program is tried out with. */
	#nothing: GPUBuffer[] = [];
	#compiled = new Map<Program, Compiled>();
	/** Those that are being compiled ahead of their use. */
	#compiling = new Map<Program, Promise<void>>();
	/** How many of them are at it, and those that wait for their turn. */
	#side = 0;
	#line: (() => void)[] = [];
	/** Programs that are refused, or not yet known to be good. */
	#doubts = new Map<Program, Doubt>();
	/** Bind groups kept, of all programs. */
	#groups = 0;
	/** By the buffers that they bind, with which they go. */
	#binding = new Map<GPUBuffer, Set<KeptGroup>>();
	/** The one that was asked for last. */
	#last: KeptGroup | undefined;

	/** `gone` says that the device was lost, once it was; `late`: its driver compiles a program when it first runs. */
	constructor(device: GPUDevice, gone: () => DeviceError | undefined, late: boolean) {
		this.#device = device;
		this.#gone = gone;
		this.#late = late;
		this.#most = late ? 1 : SIDE_BY_SIDE;
	}

	/** Compiles what these dispatches run and was not compiled before; returns the doubts about their programs. */
	prepare(dispatches: readonly Dispatch[]): Doubt[] {
		for (const { label, program } of dispatches) if (!this.#compiled.has(program)) this.#compile(label, program);
		return this.#doubts.size === 0 ? [] : this.#doubtsOf(dispatches.map(({ program }) => program));
	}

	/** Of a program that was compiled. */
	get(program: Program): Compiled {
		return this.#compiled.get(program) as Compiled;
	}

	/**
	 * Compiles those of these programs, by their labels, that were not compiled before. Throws KernelError where the
	 * device refuses one, DeviceError where it is lost, and what `progress` throws.
	 */
	async compile(programs: ReadonlyMap<Program, string>, progress: CompileProgress): Promise<void> {
		for (const doubt of this.#doubtsOf(programs.keys())) if (doubt instanceof KernelError) throw doubt;
		const missing = [...programs].filter(([program]) => !this.#compiled.has(program));
		let done = 0;
		progress(done, missing.length);
		const count = async (compiling: Promise<void>) => {
			await compiling;
			progress(++done, missing.length);
		};
		// All are begun at once, in their order, so that `compiled` knows of each from now on.
		await Promise.all(missing.map(([program, label]) => count(this.#ahead(program, label))));
	}

	/** Settles when those of these that are being compiled are there. Rejects as `compile` does. */
	async compiled(programs: Iterable<Program>): Promise<void> {
		await Promise.all([...programs].map((program) => this.#compiling.get(program)));
	}

	/** Compiles a program, once where two ask for it. */
	#ahead(program: Program, label: string): Promise<void> {
		const known = this.#compiling.get(program);
		if (known) return known;
		const compiling = (async () => {
			await this.#turn();
			try {
				const gone = this.#gone();
				if (gone) throw gone;
				const pipeline = await this.#pipeline(label, program);
				if (this.#late) await this.#tryOut(program, pipeline);
				if (!this.#compiled.has(program)) this.#compiled.set(program, { pipeline, groups: new Map() });
			} finally {
				this.#next();
			}
		})();
		this.#compiling.set(program, compiling);
		const done = () => {
			this.#compiling.delete(program);
		};
		compiling.then(done, done);
		return compiling;
	}

	/** Waits until another one may be begun: Dawn would start all at once, and the first be ready with the last. */
	async #turn(): Promise<void> {
		if (this.#side < this.#most) this.#side++;
		else await new Promise<void>((resolve) => this.#line.push(resolve));
	}

	#next(): void {
		const next = this.#line.shift();
		if (next) next();
		else this.#side--;
	}

	async #pipeline(label: string, program: Program): Promise<GPUComputePipeline> {
		// What is wrong with a module comes again with its pipeline.
		this.#device.pushErrorScope("validation");
		const module = this.#device.createShaderModule({ label: program.name, code: program.code });
		this.#device.popErrorScope();
		return await this.#device.createComputePipelineAsync(describe(program.name, module)).catch(async (error: Error) => {
			throw this.#gone() ?? (await refusal(label, program, module, error.message));
		});
	}

	/** Runs a program over nothing: no workgroups, which only the device gets to know, or it would not be asked to. */
	async #tryOut({ name, bindings }: Program, pipeline: GPUComputePipeline): Promise<void> {
		const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.UNIFORM | GPUBufferUsage.INDIRECT;
		while (this.#nothing.length <= bindings)
			this.#nothing.push(this.#device.createBuffer({ label: "nothing", size: NOTHING_BYTES, usage }));
		const [none, ...tensors] = this.#nothing;
		const entries = tensors.slice(0, bindings).map((buffer, binding) => ({ binding, resource: { buffer } }));
		const encoder = this.#device.createCommandEncoder({ label: name });
		const pass = encoder.beginComputePass({ label: name });
		pass.setPipeline(pipeline);
		pass.setBindGroup(0, this.#device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
		pass.dispatchWorkgroupsIndirect(none, 0);
		pass.end();
		this.#device.queue.submit([encoder.finish()]);
		await this.#device.queue.onSubmittedWorkDone();
	}

	/** Compiles a program; until it is known to be good it is a doubt, and when it is refused it stays one. */
	#compile(label: string, program: Program): void {
		for (const kind of REFUSALS) this.#device.pushErrorScope(kind);
		const module = this.#device.createShaderModule({ label: program.name, code: program.code });
		const pipeline = this.#device.createComputePipeline(describe(program.name, module));
		const errors = Promise.all(REFUSALS.map(() => verdictOf(this.#device.popErrorScope(), wrong)));
		const verdict = errors.then(async (errors) => {
			const error = errors.find((error) => error !== undefined);
			const refused = error && (await refusal(label, program, module, error.message));
			if (refused) this.#doubts.set(program, refused);
			else this.#doubts.delete(program);
			return refused;
		});
		this.#doubts.set(program, verdict);
		this.#compiled.set(program, { pipeline, groups: new Map() });
	}

	/** Those of these programs, each once. */
	#doubtsOf(programs: Iterable<Program>): Doubt[] {
		return [...new Set(programs)].flatMap((program) => this.#doubts.get(program) ?? []);
	}

	/**
	 * One bind group for the same program over the same parts of the same buffers: rounds of one shape repeat them all,
	 * in the same order, so that it is mostly the one which came after the last one the time before.
	 */
	group(label: string, compiled: Compiled, tensors: readonly Tensor[]): GPUBindGroup {
		const guess = this.#last?.after;
		const kept =
			guess?.of === compiled && sameParts(guess.tensors, tensors) ? guess : this.#keptGroup(label, compiled, tensors);
		if (this.#last) this.#last.after = kept;
		this.#last = kept;
		return kept.group;
	}

	#keptGroup(label: string, of: Compiled, tensors: readonly Tensor[]): KeptGroup {
		// Where the parts lie tells nearly all of them apart: the parameters of every dispatch lie elsewhere.
		let place = 0;
		for (const { offset, bytes } of tensors) place = Math.imul(Math.imul(place, 31) + offset, 31) + bytes;
		place |= 0;
		const first = of.groups.get(place);
		for (let kept = first; kept; kept = kept.next) if (sameParts(kept.tensors, tensors)) return kept;
		if (this.#groups >= MAX_GROUPS) this.#forgetGroups();
		const entries = tensors.map(({ buffer, offset, bytes }, binding) => ({
			binding,
			resource: { buffer, offset, size: bytes },
		}));
		const group = this.#device.createBindGroup({ label, layout: of.pipeline.getBindGroupLayout(0), entries });
		const kept: KeptGroup = { of, place, tensors, group, next: first, after: undefined };
		of.groups.set(place, kept);
		this.#groups++;
		for (const { buffer } of tensors) {
			const binding = this.#binding.get(buffer);
			if (binding) binding.add(kept);
			else this.#binding.set(buffer, new Set([kept]));
		}
		return kept;
	}

	/** A buffer is gone: so are the bind groups that it is in, which would keep it, and nobody could ask for again. */
	forget(buffer: GPUBuffer): void {
		for (const kept of this.#binding.get(buffer) ?? []) {
			for (const each of kept.tensors) if (each.buffer !== buffer) this.#binding.get(each.buffer)?.delete(kept);
			unchain(kept);
			this.#groups--;
			if (this.#last === kept) this.#last = undefined;
		}
		this.#binding.delete(buffer);
	}

	#forgetGroups(): void {
		for (const program of this.#compiled.values()) program.groups.clear();
		this.#binding.clear();
		this.#groups = 0;
		this.#last = undefined;
	}
}

/** Takes a group out of those at its place; what was asked for after it is not kept by it. */
function unchain(kept: KeptGroup): void {
	const { groups } = kept.of;
	let before = groups.get(kept.place);
	if (before === kept) {
		if (kept.next) groups.set(kept.place, kept.next);
		else groups.delete(kept.place);
	} else {
		while (before && before.next !== kept) before = before.next;
		if (before) before.next = kept.next;
	}
	kept.after = undefined;
}

/** Room for one element of any binding. */
const NOTHING_BYTES = 256;

/** How a device says that it does not take a pipeline: its rules, or its driver. */
const REFUSALS = ["internal", "validation"] as const;

const describe = (label: string, module: GPUShaderModule): GPUComputePipelineDescriptor => ({
	label,
	layout: "auto",
	compute: { module, entryPoint: "main" },
});

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
