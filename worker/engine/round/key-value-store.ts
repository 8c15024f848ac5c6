import { type PackedForm, packedForm, packKeys, unpackKeys } from "../../../kernels/attention/packed-keys.ts";
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import { Scope } from "../../../kernels/gpu/scope.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { copy } from "../../../kernels/tokens/gather.ts";
import type { Precision } from "../../../model-shards/format/precision.ts";
import type { KeyStore } from "../../families/family.ts";
import { Ranges } from "../../families/shared/ranges.ts";
import type { Dtype } from "../../families/shared/weights.ts";
import type { Planned } from "./room.ts";
import { GROUP_STEP } from "./workspace.ts";

/** How many keys are wanted: by block, one number a range. */
export type KeyCounts = readonly (readonly number[])[];

/** How a key with its value lies in the store. */
export interface KeyRow {
	/** Elements, of `dtype`, and bytes. */
	columns: number;
	dtype: Dtype;
	bytes: number;
	/** Of whole numbers, in 32-bit words. */
	form?: PackedForm;
}

/** Of those that are packed. */
const BITS: Partial<Record<Precision, PackedForm["bits"]>> = { int8: 8, int4: 4 };

/** Whether keys of a width are kept so at all: the rows that read packed ones are cut apart as those of banks are. */
export function keepsKeys(width: number, precision: Precision): boolean {
	return BITS[precision] === undefined || inBanks(width);
}

/** Throws RangeError for a width whose keys are not packed. */
export function keyRow(width: number, precision: Precision): KeyRow {
	const bits = BITS[precision];
	if (bits === undefined) {
		const dtype = precision === "f16" ? precision : "f32";
		return { columns: 2 * width, dtype, bytes: 2 * width * (dtype === "f16" ? 2 : 4) };
	}
	const form = inBanks(width) ? packedForm(width, bits) : undefined;
	if (!form)
		throw new RangeError(
			`Keys of a width of ${width} are not packed: it is no multiple of ${GROUP_STEP}. Keep them as f32 or f16.`,
		);
	return { columns: form.words, dtype: "f32", bytes: 4 * form.words, form };
}

/** Bytes of what keys are unpacked to where they are packed, one row of a picture at a time: `longest` keys. */
export const unpackedBytes = (width: number, { form }: KeyRow, longest: number): number =>
	form ? 4 * 2 * width * longest : 0;

/** Rows of a bank of a block. */
interface Stretch {
	block: number;
	bank: number;
	key: number;
	count: number;
}

/**
 * Keys and values of every picture, [keys, 2 * width] a block: keys in the first half of a row, values in the second.
 * Pictures hold ranges of it. A block is one long tensor, so that one dispatch attends for all of them where a binding
 * holds it, or as many banks as buffers ask for: then each range lies in one. It grows when a range does not fit, and
 * stays that large. With f16 they take half the memory and are rounded once; as whole numbers a quarter or an eighth,
 * and what a dispatch reads is unpacked before to one tensor that all blocks share, as long as the longest range.
 */
export class KeyValueStore implements KeyStore, Disposable {
	#gpu: Gpu;
	#width: number;
	#row: KeyRow;
	/** Keys of a tensor, at most. */
	readonly bank: number;
	#blocks: Block[];
	#unpacked: Tensor | undefined;

	constructor(gpu: Gpu, depth: number, width: number, precision: Precision) {
		this.#gpu = gpu;
		this.#width = width;
		this.#row = keyRow(width, precision);
		this.bank = bankKeys(width, this.#row, gpu.bufferBytes);
		this.#blocks = this.#empty(depth);
	}

	/** The tensor that holds a key of a block, and which one of it that is: as all others of its range. */
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

	/** Where packed keys are read, [keys, 2 * width]; undefined where they are not packed. */
	get unpacked(): Tensor | undefined {
		return this.#row.form && (this.#unpacked as Tensor);
	}

	put(
		pass: Pass,
		{ x, block, key, count, label }: { x: Tensor; block: number; key: number; count: number; label: string },
	): void {
		const { tensor: y, key: to } = this.at(block, key);
		const columns = 2 * this.#width;
		if (this.#row.form)
			this.pack(pass, { block, bank: this.bankOf(key), key: to, count }, { x, from: 0, stride: columns, at: 0 });
		else copy(pass, { x, y, to: to * columns, count: count * columns, label });
	}

	/** Packs rows of x, each `stride` floats with a key and its value from `at` on. Only where keys are packed. */
	pack(pass: Pass, to: Stretch, of: { x: Tensor; from: number; stride: number; at: number }): void {
		const form = this.#row.form as PackedForm;
		const y = this.tensor(to.block, to.bank);
		packKeys(pass, { ...of, y, to: to.key, count: to.count, form, label: `block ${to.block} pack keys` });
	}

	/** Unpacks to rows `to` and on of y, [keys, 2 * width]. Only where keys are packed. */
	unpack(pass: Pass, from: Stretch, y: Tensor, to: number): void {
		const form = this.#row.form as PackedForm;
		const x = this.tensor(from.block, from.bank);
		unpackKeys(pass, { x, from: from.key, y, to, count: from.count, form, label: `block ${from.block} unpack keys` });
	}

	/** The tensors that `take` would make to hold these ranges beside those that are taken. */
	growth(counts: KeyCounts): Planned[] {
		const larger = this.#longer(counts);
		return [
			...this.#growing(counts).flatMap(({ block, banks }) => banks.map(({ size }) => this.#planned(block, size))),
			...(larger ? [larger] : []),
		];
	}

	/**
	 * What `growSlowly` needs beside what there is: by how much banks grow, and whole the largest new one that takes the
	 * place of another.
	 */
	slowGrowth(counts: KeyCounts): Planned[] {
		const larger = this.#growing(counts).flatMap(({ block, banks }) =>
			banks.map(({ bank, size }) => ({ block, size, more: size - (this.#blocks[block].banks[bank]?.shape[0] ?? 0) })),
		);
		const most = larger
			.filter(({ size, more }) => more < size)
			.reduce<(typeof larger)[number] | undefined>(
				(most, next) => (most && most.size >= next.size ? most : next),
				undefined,
			);
		const longer = this.#longer(counts);
		return [
			...larger.map(({ block, more }) => this.#planned(block, more)),
			...(most ? [this.#planned(most.block, most.size)] : []),
			...(longer ? [longer] : []),
		];
	}

	/** Sees to it that `take` finds room, block by block, so that the old and the new tensors of one alone meet. */
	async growSlowly(counts: KeyCounts): Promise<void> {
		for (const growth of this.#growing(counts)) {
			this.#grow([growth]);
			await this.#gpu.reclaim();
		}
	}

	/**
	 * Takes ranges of these sizes in every block and returns where each begins. Throws OutOfMemoryError, with the store
	 * as it was, when no buffer of the adapter holds as many keys.
	 */
	take(counts: KeyCounts): number[][] {
		const growing = this.#growing(counts);
		const longer = this.#longer(counts);
		using made = new Scope(this.#gpu);
		const unpacked = longer && made.long(longer.label, longer.shape);
		if (growing.length > 0) this.#grow(growing);
		if (unpacked) {
			made.move();
			if (this.#unpacked) this.#gpu.free(this.#unpacked);
			this.#unpacked = unpacked;
		}
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
		this.#gpu.free(...this.#blocks.flatMap(({ banks }) => banks), ...(this.#unpacked ? [this.#unpacked] : []));
		this.#unpacked = undefined;
	}

	/** What ranges of these sizes are unpacked to, where what there is does not do. */
	#longer(counts: KeyCounts): Planned | undefined {
		const longest = Math.max(0, ...counts.flat());
		if (!this.#row.form || longest <= (this.#unpacked?.shape[0] ?? 0)) return undefined;
		return { label: "keys and values unpacked", shape: [longest, 2 * this.#width], long: true };
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
			if (held)
				copy(pass, { x: held, y: tensor, count: held.shape[0] * this.#row.columns, label: "grow keys and values" });
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
		const { columns, dtype } = this.#row;
		return { label: `keys and values ${block}`, shape: [size, columns], dtype, long: true };
	}
}

/** `banks`: a row a key, each but the last full. */
interface Block {
	ranges: Ranges;
	banks: Tensor[];
}
interface Growth {
	block: number;
	size: number;
	banks: { bank: number; size: number }[];
}

/** Whether a block's keys may be read in parts: rows of other widths cannot be bound from any sequence on. */
export const inBanks = (width: number): boolean => width % GROUP_STEP === 0;

/** Keys, with their values, of one tensor at most: what a buffer holds, or any number where all have to be in one. */
const bankKeys = (width: number, { bytes }: KeyRow, bufferBytes: number): number =>
	inBanks(width) ? Math.max(1, Math.floor(bufferBytes / bytes)) : Number.MAX_SAFE_INTEGER;
