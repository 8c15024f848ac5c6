/**
 * The one place that calls WebGPU: counted buffers, compiled pipelines, one compute pass a submission, reading back.
 * Operators (the other files here) describe themselves as WGSL plus bindings and are recorded with `Pass.run`.
 */
import { type AdapterFacts, DeviceError, openDevice } from "./device.ts";
import type { Tuning } from "./tuning.ts";

/** A dense row-major array on the device, or a part of a buffer: what every operator takes. Offsets are multiples of 256. */
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

const ARENA_BYTES = 8 << 20;
const ALIGN = 256;

export class Gpu {
	readonly device: GPUDevice;
	readonly facts: AdapterFacts;
	/** Variants measured on this adapter; empty where nothing was measured. */
	tuning: Tuning = {};
	/** Bytes of every live buffer made here. */
	bytes = 0;
	/** Settles when the device is gone, with the reason. */
	readonly lost: Promise<string>;
	#lost: string | undefined;
	#pipelines = new Map<string, GPUComputePipeline>();
	#failure: Error | undefined;
	/** The first refused source: the cause of whatever fails after it. */
	#refused: KernelError | undefined;
	#checks: Promise<void>[] = [];
	#arena: Tensor;

	constructor(device: GPUDevice, facts: AdapterFacts) {
		this.device = device;
		this.facts = facts;
		this.lost = device.lost.then((info) => (this.#lost = `${info.reason}: ${info.message}`));
		device.addEventListener("uncapturederror", (event) => {
			this.#failure ??= new KernelError((event as GPUUncapturedErrorEvent).error.message);
		});
		this.#arena = this.tensor("arena", [ARENA_BYTES / 4], GPUBufferUsage.UNIFORM);
	}

	static async open(): Promise<Gpu> {
		const { device, facts } = await openDevice();
		return new Gpu(device, facts);
	}

	/** Makes an uninitialised (zeroed) tensor of 4-byte elements, or of f16. Throws when it is beyond the adapter's binding limit, or f16 and the adapter has none. */
	tensor(label: string, shape: readonly number[], usage = 0, dtype?: "f16"): Tensor {
		if (dtype === "f16" && !this.device.features.has("shader-f16")) {
			throw new DeviceError(`${label} is to be f16, but this adapter (${this.facts.name}) has no shader-f16. Use f32, or another GPU or driver.`);
		}
		const bytes = Math.max(16, Math.ceil((dtype === "f16" ? 2 : 4) * shape.reduce((product, size) => product * size, 1) / 4) * 4);
		const limit = this.device.limits.maxStorageBufferBindingSize;
		if (bytes > limit) {
			throw new DeviceError(`${label} needs a buffer of ${bytes} bytes; this adapter binds at most ${limit}. Use a smaller model or picture, or another GPU.`);
		}
		const buffer = this.device.createBuffer({ label, size: bytes, usage: usage | GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST });
		this.bytes += bytes;
		return { buffer, offset: 0, bytes, shape, dtype };
	}

	upload(label: string, shape: readonly number[], data: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer> | Float16Array<ArrayBuffer>): Tensor {
		const tensor = this.tensor(label, shape, 0, data instanceof Float16Array ? "f16" : undefined);
		this.device.queue.writeBuffer(tensor.buffer, 0, data);
		return tensor;
	}

	free(...tensors: Tensor[]): void {
		for (const { buffer } of tensors) {
			this.bytes -= buffer.size;
			buffer.destroy();
		}
	}

	/** Starts a submission. Record synchronously, then `submit`. */
	pass(label: string): Pass {
		if (this.#lost) throw new DeviceError(`The GPU device was lost (${this.#lost}). Open it again.`);
		return new Pass(this, label, this.#arena);
	}

	/** Compiles once a source; a refusal surfaces at the next `read` with the compiler's message. */
	pipeline(label: string, code: string): GPUComputePipeline {
		const known = this.#pipelines.get(code);
		if (known) return known;
		this.device.pushErrorScope("validation");
		const module = this.device.createShaderModule({ label, code });
		const pipeline = this.device.createComputePipeline({ label, layout: "auto", compute: { module, entryPoint: "main" } });
		this.#checks.push(
			this.device.popErrorScope().then(async (error) => {
				if (!error) return;
				const messages = (await module.getCompilationInfo()).messages.map((m) => `${m.lineNum}:${m.linePos} ${m.message}`);
				const source = code.split("\n").map((line, i) => `${i + 1}\t${line}`);
				this.#refused ??= new KernelError(`${label}: ${[error.message, ...messages].join("\n")}\n${source.join("\n")}`);
			}),
		);
		this.#pipelines.set(code, pipeline);
		return pipeline;
	}

	/** Copies tensors back after all submitted work. Throws KernelError or DeviceError when that work failed. */
	async read(tensors: readonly Tensor[]): Promise<ArrayBuffer[]> {
		if (this.#lost) throw new DeviceError(`The GPU device was lost (${this.#lost}). Open it again.`);
		const total = tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
		const staging = this.device.createBuffer({ label: "staging", size: Math.max(16, total), usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
		this.bytes += staging.size;
		try {
			const encoder = this.device.createCommandEncoder({ label: "read" });
			let at = 0;
			for (const tensor of tensors) {
				encoder.copyBufferToBuffer(tensor.buffer, tensor.offset, staging, at, tensor.bytes);
				at += tensor.bytes;
			}
			this.device.queue.submit([encoder.finish()]);
			await Promise.race([staging.mapAsync(GPUMapMode.READ), this.lost]);
			await Promise.all(this.#checks.splice(0));
			if (this.#lost) throw new DeviceError(`The GPU device was lost (${this.#lost}). Open it again.`);
			const failure = this.#refused ?? this.#failure;
			if (failure) throw failure;
			const mapped = staging.getMappedRange();
			at = 0;
			return tensors.map(({ bytes }) => mapped.slice(at, (at += bytes)));
		} finally {
			this.bytes -= staging.size;
			staging.destroy();
		}
	}

	destroy(): void {
		this.device.destroy();
	}
}

export type Word = { u32: number } | { f32: number } | number;

/** One command buffer with one compute pass. Small tables and parameters travel in a shared arena, written at submit. */
export class Pass {
	#gpu: Gpu;
	get gpu(): Gpu {
		return this.#gpu;
	}
	#encoder: GPUCommandEncoder;
	#pass: GPUComputePassEncoder;
	#arena: Tensor;
	#words = new Uint32Array(ARENA_BYTES / 4);
	#used = 0;

	constructor(gpu: Gpu, label: string, arena: Tensor) {
		this.#gpu = gpu;
		this.#arena = arena;
		this.#encoder = gpu.device.createCommandEncoder({ label });
		this.#pass = this.#encoder.beginComputePass({ label });
	}

	/** Puts a small table of 32-bit words on the device for this submission. */
	table(words: ArrayLike<number>): Tensor {
		const bytes = Math.max(16, words.length * 4);
		const offset = this.#used;
		this.#used += Math.ceil(bytes / ALIGN) * ALIGN;
		if (this.#used > ARENA_BYTES) throw new RangeError("A submission has more tables than its arena holds; split it.");
		this.#words.set(words, offset / 4);
		return { buffer: this.#arena.buffer, offset, bytes, shape: [words.length] };
	}

	/**
	 * Records one dispatch. `params` become the uniform at binding 0 (bare numbers are u32), `bindings` follow from 1.
	 * `groups`: workgroups in x, y, z; nothing is recorded when one of them is 0.
	 */
	run(label: string, code: string, params: readonly Word[], bindings: readonly Tensor[], groups: readonly [number, number?, number?]): void {
		const [x, y = 1, z = 1] = groups;
		if (x * y * z === 0) return;
		const pipeline = this.#gpu.pipeline(label, code);
		const bits = new Uint32Array(Math.ceil(params.length / 4) * 4);
		const floats = new Float32Array(bits.buffer);
		params.forEach((word, i) => {
			if (typeof word === "number") bits[i] = word;
			else if ("u32" in word) bits[i] = word.u32;
			else floats[i] = word.f32;
		});
		const group = this.#gpu.device.createBindGroup({
			label,
			layout: pipeline.getBindGroupLayout(0),
			entries: [this.table(bits), ...bindings].map(({ buffer, offset, bytes }, binding) => ({ binding, resource: { buffer, offset, size: bytes } })),
		});
		this.#pass.setPipeline(pipeline);
		this.#pass.setBindGroup(0, group);
		this.#pass.dispatchWorkgroups(x, y, z);
	}

	submit(): void {
		this.#pass.end();
		const { queue } = this.#gpu.device;
		queue.writeBuffer(this.#arena.buffer, 0, this.#words, 0, this.#used / 4);
		queue.submit([this.#encoder.finish()]);
	}
}
