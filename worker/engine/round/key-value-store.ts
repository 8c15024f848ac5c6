import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { copy } from "../../../kernels/tokens/gather.ts";
import type { KeyStore } from "../../families/family.ts";
import { Ranges } from "../../families/shared/ranges.ts";
import type { Dtype } from "../../families/shared/weights.ts";
import type { Planned } from "./room.ts";
import { GROUP_STEP } from "./workspace.ts";

/** How many keys are wanted: by block, one number a range. */
export type KeyCounts = readonly (readonly number[])[];

/**
 * Keys and values of every picture, [keys, 2 * width] a block: keys in the first half of a row, values in the second.
 * Pictures hold ranges of it. A block is one long tensor, so that one dispatch attends for all of them where a binding
 * holds it, or as many banks as buffers ask for: then each range lies in one. It grows when a range does not fit, and
 * stays that large. With f16 they take half the memory and are rounded once.
 */
export class KeyValueStore implements KeyStore, Disposable {
	#gpu: Gpu;
	#stride: number;
	#dtype: Dtype;
	/** Keys of a tensor, at most. */
	readonly bank: number;
	#blocks: Block[];

	constructor(gpu: Gpu, depth: number, width: number, dtype: Dtype) {
		this.#gpu = gpu;
		this.#stride = 2 * width;
		this.#dtype = dtype;
		this.bank = bankKeys(width, dtype, gpu.bufferBytes);
		this.#blocks = this.#empty(depth);
	}

	at(block: number, key: number): { tensor: Tensor; key: number } {
		return { tensor: this.tensor(block, this.bankOf(key)), key: key % this.bank };
	}

	/** One of a block's tensors; there is one alone where a buffer holds all. */
	tensor(block: number, bank = 0): Tensor {
		return this.#blocks[block].banks[bank];
	}

	/** In which of them a key lies. */
	bankOf(key: number): number {
		return Math.floor(key / this.bank);
	}

	/** The tensors that `take` would make to hold these ranges beside those that are taken. */
	growth(counts: KeyCounts): Planned[] {
		return this.#growing(counts).flatMap(({ block, banks }) => banks.map(({ size }) => this.#planned(block, size)));
	}

	/**
	 * Takes ranges of these sizes in every block and returns where each begins. Throws OutOfMemoryError, with the store
	 * as it was, when no buffer of the adapter holds as many keys.
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
		this.#gpu.free(...this.#blocks.flatMap(({ banks }) => banks));
	}

	/** The blocks that are too small for further ranges, the size they need, and which of their tensors change. */
	#growing(counts: KeyCounts): Growth[] {
		return this.#blocks.flatMap(({ ranges, banks }, block) => {
			// What no buffer holds is refused as the one tensor that it would be.
			const longest = Math.max(0, ...counts[block]);
			if (longest > this.bank) return [{ block, size: longest, banks: [{ bank: 0, size: longest }] }];
			const size = ranges.sizeFor(counts[block]);
			if (size <= ranges.size) return [];
			const sizes = Array.from({ length: Math.ceil(size / this.bank) }, (_, bank) =>
				Math.min(this.bank, size - bank * this.bank),
			);
			const larger = sizes.flatMap((size, bank) => (size > (banks[bank]?.shape[0] ?? 0) ? [{ bank, size }] : []));
			return [{ block, size, banks: larger }];
		});
	}

	/** First all of the larger tensors, then what the old ones hold, and the ranges last. */
	#grow(growing: readonly Growth[]): void {
		using made = new Scope(this.#gpu);
		const larger = growing.flatMap(({ block, banks }) =>
			banks.map(({ bank, size }) => ({ block, bank, tensor: this.#make(made, block, size) })),
		);
		const pass = this.#gpu.pass("grow keys and values");
		for (const { block, bank, tensor } of larger) {
			const held = this.#blocks[block].banks[bank];
			if (held) copy(pass, { x: held, y: tensor, count: held.shape[0] * this.#stride, label: "grow keys and values" });
		}
		pass.submit();
		made.move();
		for (const { block, bank, tensor } of larger) {
			const { banks } = this.#blocks[block];
			if (banks[bank]) this.#gpu.free(banks[bank]);
			banks[bank] = tensor;
		}
		for (const { block, size } of growing) this.#blocks[block].ranges.growTo(size);
	}

	#empty(depth: number): Block[] {
		using made = new Scope(this.#gpu);
		const blocks = Array.from({ length: depth }, (_, block) => ({
			ranges: new Ranges(this.bank),
			banks: [this.#make(made, block, 0)],
		}));
		made.move();
		return blocks;
	}

	#make(scope: Scope, block: number, size: number): Tensor {
		const { label, shape, dtype } = this.#planned(block, size);
		return scope.long(label, shape, dtype === "f16" ? dtype : undefined);
	}

	#planned(block: number, size: number): Planned {
		return { label: `keys and values ${block}`, shape: [size, this.#stride], dtype: this.#dtype, long: true };
	}
}

/** `banks`: [keys, 2 * width], each but the last full. */
interface Block {
	ranges: Ranges;
	banks: Tensor[];
}
interface Growth {
	block: number;
	size: number;
	banks: { bank: number; size: number }[];
}

/** Whether a block's keys may lie in several tensors: rows of other widths cannot be bound from any sequence on. */
export const inBanks = (width: number): boolean => width % GROUP_STEP === 0;

/** Keys, with their values, of one tensor at most: what a buffer holds, or any number where all have to be in one. */
const bankKeys = (width: number, dtype: Dtype, bufferBytes: number): number =>
	inBanks(width)
		? Math.max(1, Math.floor(bufferBytes / (2 * width * (dtype === "f16" ? 2 : 4))))
		: Number.MAX_SAFE_INTEGER;
