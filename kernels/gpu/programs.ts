/** What runs on a device: programs compiled once each, and the bind groups that were made for them. */
import { type DeviceError, KernelError } from "./errors.ts";
import type { Program } from "./kernel.ts";
import type { Dispatch } from "./pass.ts";
import type { Tensor } from "./tensor.ts";
import { verdictOf, wrong } from "./verdicts.ts";

/** Bind groups kept; a busy worker goes over its few shapes of rounds again and again. */
const MAX_GROUPS = 8192;

/** A program's pipeline, and its bind groups by where the parts lie that they are of. */
export interface Compiled {
	pipeline: GPUComputePipeline;
	groups: Map<number, KeptGroup>;
}
/** `next`: another one whose parts lie at the same places of other buffers. */
interface KeptGroup {
	tensors: readonly Tensor[];
	group: GPUBindGroup;
	next: KeptGroup | undefined;
}

/** Of a program: that it is refused, or what will tell. */
type Doubt = KernelError | Promise<KernelError | undefined>;

export class Programs {
	#device: GPUDevice;
	#gone: () => DeviceError | undefined;
	#compiled = new Map<Program, Compiled>();
	/** Programs that are refused, or not yet known to be good. */
	#doubts = new Map<Program, Doubt>();
	/** Bind groups kept, of all programs. */
	#groups = 0;

	/** `gone` says that the device was lost, once it was. */
	constructor(device: GPUDevice, gone: () => DeviceError | undefined) {
		this.#device = device;
		this.#gone = gone;
	}

	/** Compiles what these dispatches run and was not compiled before; returns the doubts about their programs. */
	prepare(dispatches: readonly Dispatch[]): Doubt[] {
		for (const { label, program } of dispatches) if (!this.#compiled.has(program)) this.#compile(label, program);
		return this.#doubtsOf(dispatches);
	}

	/** Of a program that was compiled. */
	get(program: Program): Compiled {
		return this.#compiled.get(program) as Compiled;
	}

	/**
	 * Compiles, side by side, what these dispatches would run. Throws KernelError where the device refuses one, and
	 * DeviceError where it is lost.
	 */
	async compile(dispatches: readonly Dispatch[]): Promise<void> {
		for (const doubt of this.#doubtsOf(dispatches)) if (doubt instanceof KernelError) throw doubt;
		const programs = new Map(dispatches.map(({ program, label }) => [program, label]));
		const compiled = [...programs].map(async ([program, label]) => {
			if (this.#compiled.has(program)) return;
			// What is wrong with a module comes again with its pipeline.
			this.#device.pushErrorScope("validation");
			const module = this.#device.createShaderModule({ label: program.name, code: program.code });
			this.#device.popErrorScope();
			const pipeline = await this.#device
				.createComputePipelineAsync(describe(program.name, module))
				.catch(async (error: Error) => {
					throw this.#gone() ?? (await refusal(label, program, module, error.message));
				});
			this.#compiled.set(program, { pipeline, groups: new Map() });
		});
		await Promise.all(compiled);
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

	/** Those of these dispatches' programs, each once. */
	#doubtsOf(dispatches: readonly Dispatch[]): Doubt[] {
		if (this.#doubts.size === 0) return [];
		return [...new Set(dispatches.map(({ program }) => program))].flatMap((program) => this.#doubts.get(program) ?? []);
	}

	/**
	 * One bind group for the same program over the same parts of the same buffers: rounds of one shape repeat them all.
	 */
	group(label: string, { pipeline, groups }: Compiled, tensors: readonly Tensor[]): GPUBindGroup {
		// Where the parts lie tells nearly all of them apart: the parameters of every dispatch lie elsewhere.
		let place = 0;
		for (const { offset, bytes } of tensors) place = Math.imul(Math.imul(place, 31) + offset, 31) + bytes;
		place |= 0;
		const first = groups.get(place);
		for (let kept = first; kept; kept = kept.next) if (sameParts(kept.tensors, tensors)) return kept.group;
		if (this.#groups >= MAX_GROUPS) {
			for (const program of this.#compiled.values()) program.groups.clear();
			this.#groups = 0;
		}
		const entries = tensors.map(({ buffer, offset, bytes }, binding) => ({
			binding,
			resource: { buffer, offset, size: bytes },
		}));
		const group = this.#device.createBindGroup({ label, layout: pipeline.getBindGroupLayout(0), entries });
		groups.set(place, { tensors, group, next: groups.get(place) });
		this.#groups++;
		return group;
	}
}

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
