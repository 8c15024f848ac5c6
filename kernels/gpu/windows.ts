/**
 * Windows of long tensors: one buffer that no binding holds whole is bound by stretches of its rows. An operator that
 * takes long tensors runs once where all of them are bound whole, and window by window where one is not, with the same
 * bits.
 */
import { OutOfMemoryError } from "./errors.ts";
import type { Gpu } from "./gpu.ts";
import { elements, type Tensor, tensorBytes } from "./tensor.ts";

/** Offsets of what is bound are multiples of this. */
const ALIGNMENT = 256;

/** A tensor, and the elements of one of its rows. */
export type Rowed = readonly [tensor: Tensor, columns: number];

export interface Window {
	first: number;
	count: number;
}

/** Whether each is bound whole. */
export const boundWhole = ({ bindingBytes }: Gpu, ...tensors: readonly (Tensor | undefined)[]): boolean =>
	tensors.every((tensor) => tensor === undefined || tensor.bytes <= bindingBytes);

const sizeOf = ({ dtype }: Tensor): number => (dtype === "f16" ? 2 : 4);
const rowBytes = ([tensor, columns]: Rowed): number => columns * sizeOf(tensor);

/** Rows between two that a binding can begin with, a power of two. */
export function rowStep(rows: readonly Rowed[]): number {
	let step = 1;
	for (const each of rows) while ((rowBytes(each) * step) % ALIGNMENT) step *= 2;
	return step;
}

/**
 * Rows of each tensor that one binding holds, wherever it begins: a multiple of `rowStep`, and of `by`, which is a
 * power of two. Throws OutOfMemoryError where there are none.
 */
export function rowsBound({ bindingBytes }: Gpu, rows: readonly Rowed[], label: string, by = 1): number {
	const largest = Math.max(...rows.map(rowBytes));
	const step = rowStep(rows);
	const most = Math.floor((Math.floor(bindingBytes / largest) - step + 1) / Math.max(by, step)) * Math.max(by, step);
	if (most > 0) return most;
	throw new OutOfMemoryError(
		`${label}: rows of ${largest} bytes are more than this adapter binds, which is ${bindingBytes}. Use another GPU.`,
	);
}

/** Rows `first` to `first + count` in windows that a binding holds of each tensor. Throws as `rowsBound`. */
export function windowsOf(
	gpu: Gpu,
	{ first, count }: Window,
	rows: readonly Rowed[],
	label: string,
	by?: number,
): Window[] {
	return parted(first, count, rowsBound(gpu, rows, label, by));
}

/** `count` rows from `first` on, `most` of them at a time. */
export const parted = (first: number, count: number, most: number): Window[] =>
	Array.from({ length: Math.ceil(count / most) }, (_, i) => ({
		first: first + i * most,
		count: Math.min(most, count - i * most),
	}));

/** Rows of a tensor, bound from its row `from` on: a multiple of `rowStep`. */
export function bound(tensor: Tensor, columns: number, from: number, end: number): Tensor {
	const size = columns * sizeOf(tensor);
	const shape = [end - from, columns];
	const bytes = Math.max(16, Math.min(Math.ceil((end * size) / 4) * 4, tensor.bytes) - from * size);
	// Where a device that runs nothing stands for one, tensors have fewer bytes than their shape asks for.
	const hollow = tensor.bytes < elements(tensor.shape) * sizeOf(tensor);
	if (hollow) return { ...tensor, bytes: Math.min(tensorBytes(shape, tensor.dtype), tensor.bytes), shape };
	return { ...tensor, offset: tensor.offset + from * size, bytes, shape };
}

/**
 * Calls `run` window by window with each tensor's part of it, and the row of the parts that is the window's first: they
 * begin at a multiple of `rowStep`, so that it is 0 where `all` begins at one. `rows`: of all tensors.
 */
export function byWindows(
	gpu: Gpu,
	all: Window,
	rows: readonly Rowed[],
	label: string,
	run: (parts: readonly Tensor[], window: Window & { at: number }) => void,
): void {
	const step = rowStep(rows);
	for (const { first, count } of windowsOf(gpu, all, rows, label)) {
		const at = first % step;
		const parts = rows.map(([tensor, columns]) => bound(tensor, columns, first - at, first + count));
		run(parts, { first, count, at });
	}
}

/** Rows of a tensor from `first` on. */
interface RowsFrom {
	tensor: Tensor;
	columns: number;
	first: number;
}

/**
 * Calls `run` with as many rows of both at a time as bindings hold, where what goes from one tensor to another lies
 * anywhere in each: once where both are bound whole.
 */
export function betweenWindows(
	gpu: Gpu,
	x: RowsFrom,
	y: RowsFrom,
	count: number,
	label: string,
	run: (x: RowsFrom, y: RowsFrom, count: number) => void,
): void {
	if (boundWhole(gpu, x.tensor, y.tensor)) {
		run(x, y, count);
		return;
	}
	const most = Math.min(...[x, y].map(({ tensor, columns }) => rowsBound(gpu, [[tensor, columns]], label)));
	const part = ({ tensor, columns, first }: RowsFrom, window: Window): RowsFrom => {
		const from = first + window.first;
		const at = from % rowStep([[tensor, columns]]);
		return { tensor: bound(tensor, columns, from - at, from + window.count), columns, first: at };
	};
	for (const window of parted(0, count, most)) run(part(x, window), part(y, window), window.count);
}
