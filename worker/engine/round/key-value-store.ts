import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { copy } from "../../../kernels/tokens/gather.ts";
import { Ranges } from "../../families/shared/ranges.ts";
import type { Dtype } from "../../families/shared/weights.ts";
import type { Planned } from "./room.ts";

/** How many keys are wanted: by block, one number a range. */
export type KeyCounts = readonly (readonly number[])[];

/**
 * Keys and values of every picture, one tensor [keys, 2 * width] a block: keys in the first half of a row, values in
 * the second. Pictures hold ranges of it, so that one dispatch attends for all of them. It grows when a range does not
 * fit, and stays that large. With f16 they take half the memory and are rounded once.
 */
export class KeyValueStore implements Disposable {
	#gpu: Gpu;
	#stride: number;
	#dtype: Dtype;
	/** `tensor`: [ranges.size, 2 * width] */
	#blocks: { ranges: Ranges; tensor: Tensor }[];

	constructor(gpu: Gpu, depth: number, width: number, dtype: Dtype) {
		this.#gpu = gpu;
		this.#stride = 2 * width;
		this.#dtype = dtype;
		this.#blocks = this.#empty(depth);
	}

	tensor(block: number): Tensor {
		return this.#blocks[block].tensor;
	}

	/** The tensors that `take` would make to hold these ranges beside those that are taken. */
	growth(counts: KeyCounts): Planned[] {
		return this.#growing(counts).map(({ block, size }) => this.#planned(block, size));
	}

	/**
	 * Takes ranges of these sizes in every block and returns where each begins. Throws OutOfMemoryError, with the store
	 * as it was, when the adapter cannot bind as many keys.
	 */
	take(counts: KeyCounts): number[][] {
		const growing = this.#growing(counts);
		if (growing.length > 0) this.#grow(growing);
		return this.#blocks.map(({ ranges }, block) => counts[block].map((count) => ranges.take(count) as number));
	}

	give(block: number, start: number, count: number): void {
		this.#blocks[block].ranges.give(start, count);
	}

	/** Gives its memory up. Only while no range is taken. */
	clear(): void {
		const empty = this.#empty(this.#blocks.length);
		this[Symbol.dispose]();
		this.#blocks = empty;
	}

	[Symbol.dispose](): void {
		this.#gpu.free(...this.#blocks.map(({ tensor }) => tensor));
	}

	/** The blocks that are too small for further ranges, and the size they need. */
	#growing(counts: KeyCounts): { block: number; size: number }[] {
		return this.#blocks.flatMap(({ ranges }, block) => {
			const size = ranges.sizeFor(counts[block]);
			return size > ranges.size ? [{ block, size }] : [];
		});
	}

	/** First all of the larger tensors, then what the old ones hold, and the ranges last. */
	#grow(growing: readonly { block: number; size: number }[]): void {
		using made = new Scope(this.#gpu);
		const larger = growing.map(({ block, size }) => ({ block, size, tensor: this.#make(made, block, size) }));
		const pass = this.#gpu.pass("grow keys and values");
		for (const { block, tensor } of larger) {
			const held = this.#blocks[block];
			copy(pass, { x: held.tensor, y: tensor, count: held.ranges.size * this.#stride, label: "grow keys and values" });
		}
		pass.submit();
		made.move();
		for (const { block, size, tensor } of larger) {
			const { ranges, tensor: smaller } = this.#blocks[block];
			ranges.growTo(size);
			this.#blocks[block] = { ranges, tensor };
			this.#gpu.free(smaller);
		}
	}

	#empty(depth: number): { ranges: Ranges; tensor: Tensor }[] {
		using made = new Scope(this.#gpu);
		const blocks = Array.from({ length: depth }, (_, block) => ({
			ranges: new Ranges(),
			tensor: this.#make(made, block, 0),
		}));
		made.move();
		return blocks;
	}

	#make(scope: Scope, block: number, size: number): Tensor {
		const { label, shape, dtype } = this.#planned(block, size);
		return scope.tensor(label, shape, 0, dtype === "f16" ? dtype : undefined);
	}

	#planned(block: number, size: number): Planned {
		return { label: `keys and values ${block}`, shape: [size, this.#stride], dtype: this.#dtype };
	}
}
