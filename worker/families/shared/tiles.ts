/**
 * Images that no single tensor holds. A `Source` is an image that can be had rectangle by rectangle: a `Plane`, which
 * is stored in tiles, or what follows from another source, computed where it is asked for. All of it lies in buffers of
 * one size, which are given back as soon as nobody needs them.
 */
import { OutOfMemoryError } from "../../../kernels/gpu/errors.ts";
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import type { Pass } from "../../../kernels/gpu/pass.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { crop } from "../../../kernels/image/crop.ts";

/** In pixels. */
export interface Rect {
	top: number;
	left: number;
	height: number;
	width: number;
}

/** What tiles are computed with. */
export interface Tiling {
	/** Floats of a buffer. */
	readonly floats: number;
	/** Planes are stored as f16, two numbers in the room of a float; all else is computed in floats. */
	readonly packed: boolean;
	/** A buffer, whatever is in it. */
	take(): Tensor;
	give(buffer: Tensor): void;
	/** What runs next on the device, and how many floating-point operations of convolutions that is. */
	record(work: (pass: Pass) => void, operations?: number): void;
	/** Told where statistics are summed by rectangles, whose bits are others than those of the whole image. */
	rectangles(): void;
}

/**
 * Dispatches go to the device after so many records or operations: a driver takes a submission of seconds for a hang,
 * and a slow adapter shows how far it is.
 */
const RECORDS = 64;
const OPERATIONS = 2 ** 38;

/** Buffers on the device. */
export class DeviceBuffers implements Tiling {
	readonly floats: number;
	readonly packed: boolean;
	#gpu: Gpu;
	#all: readonly Tensor[];
	#free: Tensor[] = [];
	#pass: Pass;
	#sent: () => void;
	#records = 0;
	#operations = 0;

	/** All buffers are free. What is recorded goes on after `pass`. `sent`: told of what was submitted. */
	constructor(
		gpu: Gpu,
		buffers: readonly Tensor[],
		{ floats, packed }: Pick<Tiling, "floats" | "packed">,
		pass: Pass,
		sent: () => void,
	) {
		this.floats = floats;
		this.packed = packed;
		this.#gpu = gpu;
		this.#all = buffers;
		this.#free = [...buffers];
		this.#pass = pass;
		this.#sent = sent;
	}

	take(): Tensor {
		const buffer = this.#free.pop();
		if (!buffer) throw new Error(`The decoder needs more than its ${this.#all.length} buffers.`);
		return buffer;
	}

	give(buffer: Tensor): void {
		this.#free.push(buffer);
	}

	record(work: (pass: Pass) => void, operations = 0): void {
		if (this.#records >= RECORDS || this.#operations + operations > OPERATIONS) {
			this.#pass.submit();
			this.#sent();
			this.#pass = this.#gpu.pass(this.#pass.label);
			[this.#records, this.#operations] = [0, 0];
		}
		this.#records++;
		this.#operations += operations;
		work(this.#pass);
	}

	rectangles(): void {}

	/** What was recorded last is not submitted yet. */
	get pass(): Pass {
		return this.#pass;
	}
}

/** Counts how many buffers are taken at once and what is computed, and records nothing. */
export class CountedBuffers implements Tiling {
	readonly floats: number;
	readonly packed: boolean;
	/** At once. */
	most = 0;
	operations = 0;
	/** Statistics were summed by rectangles. */
	inexact = false;
	#taken = 0;

	constructor({ floats, packed }: Pick<Tiling, "floats" | "packed">) {
		this.floats = floats;
		this.packed = packed;
	}

	take(): Tensor {
		this.most = Math.max(this.most, ++this.#taken);
		return NOTHING;
	}

	give(): void {
		this.#taken--;
	}

	record(_: (pass: Pass) => void, operations = 0): void {
		this.operations += operations;
	}

	rectangles(): void {
		this.inexact = true;
	}
}
/** Stands for a tensor where nothing is recorded. */
const NOTHING = { buffer: undefined as unknown as GPUBuffer, offset: 0, bytes: 0, shape: [] };

export interface Size {
	readonly height: number;
	readonly width: number;
	readonly channels: number;
}

export interface Source extends Size {
	/** Floats of the largest window that `fill` works with for a rectangle of this size, `to` among them. */
	window(height: number, width: number): number;
	/** Puts a rectangle into a buffer, its rows one after the other. */
	fill(tiling: Tiling, rect: Rect, to: Tensor): void;
	/** The planes that it is computed from, and the first row of each that rows from `top` on need. */
	needs(top: number): [Plane, number][];
}

/** The most of 0 to `most` that fit, where whatever fits, less does. */
export function most(most: number, fits: (count: number) => boolean): number {
	let [low, high] = [0, most];
	while (low < high) {
		const middle = Math.ceil((low + high) / 2);
		if (fits(middle)) low = middle;
		else high = middle - 1;
	}
	return low;
}

/** Rows of the whole width whose windows a buffer holds; 0: not one. */
export const wholeRows = (from: Source, floats: number): number =>
	most(from.height, (rows) => from.window(rows, from.width) <= floats);

/**
 * Rectangles that cover a source, row by row, as large as their windows fit a buffer: whole rows, or squares where
 * those have more pixels. Throws OutOfMemoryError where not one pixel does.
 */
export function piecesOf(from: Source, floats: number): Rect[] {
	const { height, width } = from;
	const rows = wholeRows(from, floats);
	const side = most(
		Math.max(height, width),
		(side) => from.window(Math.min(side, height), Math.min(side, width)) <= floats,
	);
	if (rows === 0 && side === 0)
		throw new OutOfMemoryError(
			`A pixel of the decoder takes ${4 * from.window(1, 1)} bytes with its neighbours; a binding has ${4 * floats}. ` +
				"Use another GPU.",
		);
	const squares = Math.min(side, height) * Math.min(side, width) > rows * width;
	return cut(from, squares ? side : rows, squares ? side : width);
}

/** Rectangles of about these sides, of nearly the same size each. */
function cut({ height, width }: Omit<Size, "channels">, down: number, across: number): Rect[] {
	const even = (length: number, part: number) => Math.ceil(length / Math.ceil(length / part));
	const [rows, columns] = [even(height, down), even(width, across)];
	const all: Rect[] = [];
	for (let top = 0; top < height; top += rows)
		for (let left = 0; left < width; left += columns)
			all.push({ top, left, height: Math.min(rows, height - top), width: Math.min(columns, width - left) });
	return all;
}

/** Numbers that a buffer holds of a plane. */
const numbersOf = ({ floats }: Pick<Tiling, "floats">, packed: boolean): number => (packed ? 2 : 1) * floats;

/** The tiles of a plane: whole rows where a buffer holds one, else squares. */
function tilesOf(size: Size, numbers: number): Rect[] {
	const pixels = Math.floor(numbers / size.channels);
	const rows = Math.floor(pixels / size.width);
	if (rows > 0) return cut(size, Math.min(rows, size.height), size.width);
	const side = Math.floor(Math.sqrt(pixels));
	return cut(size, side, side);
}

/** Buffers of a plane. */
export const buffersOf = (size: Size, tiling: Pick<Tiling, "floats" | "packed">): number =>
	tilesOf(size, numbersOf(tiling, tiling.packed)).length;

/** The rectangle `by` pixels larger on all sides, within the image. */
export function grown({ top, left, height, width }: Rect, by: number, within: Omit<Size, "channels">): Rect {
	const [above, before] = [Math.max(0, top - by), Math.max(0, left - by)];
	return {
		top: above,
		left: before,
		height: Math.min(within.height, top + height + by) - above,
		width: Math.min(within.width, left + width + by) - before,
	};
}

/** A stored image. Its buffers are taken as it is written. */
export class Plane implements Source {
	readonly height: number;
	readonly width: number;
	readonly channels: number;
	/** What is stored is f16: values beyond its range become the largest of it. */
	readonly packed: boolean;
	#tiles: { rect: Rect; tensor: Tensor | undefined }[];

	constructor({ height, width, channels }: Size, tiling: Pick<Tiling, "floats" | "packed">, packed = tiling.packed) {
		this.height = height;
		this.width = width;
		this.channels = channels;
		this.packed = packed;
		this.#tiles = tilesOf(this, numbersOf(tiling, packed)).map((rect) => ({ rect, tensor: undefined }));
	}

	/** What is stored, row by row. */
	get tiles(): { rect: Rect; tensor: Tensor }[] {
		return this.#tiles.flatMap(({ rect, tensor }) => (tensor ? [{ rect, tensor }] : []));
	}

	/** Buffers that it takes when it is written. */
	get buffers(): number {
		return this.#tiles.length;
	}

	window(height: number, width: number): number {
		return height * width * this.channels;
	}

	/** Takes over a rectangle that lies in x. */
	put(tiling: Tiling, rect: Rect, x: Tensor): void {
		for (const tile of this.#tiles) {
			if (!meet(tile.rect, rect)) continue;
			tile.tensor ??= tiling.take();
			const { packed } = this;
			move(tiling, this.channels, { rect, tensor: x }, { rect: tile.rect, tensor: tile.tensor, packed });
		}
	}

	fill(tiling: Tiling, rect: Rect, to: Tensor): void {
		for (const { rect: from, tensor } of this.tiles)
			if (meet(from, rect))
				move(tiling, this.channels, { rect: from, tensor, packed: this.packed }, { rect, tensor: to });
	}

	needs(top: number): [Plane, number][] {
		return [[this, top]];
	}

	/** Gives up what lies above a row. */
	drop(tiling: Tiling, above: number): void {
		for (const tile of this.#tiles) {
			if (!tile.tensor || tile.rect.top + tile.rect.height > above) continue;
			tiling.give(tile.tensor);
			tile.tensor = undefined;
		}
	}
}

const meet = (a: Rect, b: Rect): boolean =>
	a.top < b.top + b.height && b.top < a.top + a.height && a.left < b.left + b.width && b.left < a.left + a.width;

interface Placed {
	rect: Rect;
	tensor: Tensor;
	packed?: boolean;
}

/** Copies what two rectangles have in common. */
export function move(tiling: Tiling, channels: number, from: Placed, to: Placed): void {
	const top = Math.max(from.rect.top, to.rect.top);
	const left = Math.max(from.rect.left, to.rect.left);
	const height = Math.min(from.rect.top + from.rect.height, to.rect.top + to.rect.height) - top;
	const width = Math.min(from.rect.left + from.rect.width, to.rect.left + to.rect.width) - left;
	const corner = ({ rect, packed }: Placed) => ({
		pixel: (top - rect.top) * rect.width + left - rect.left,
		stride: rect.width,
		packed,
	});
	tiling.record((pass) =>
		crop(pass, {
			x: from.tensor,
			from: corner(from),
			y: to.tensor,
			to: corner(to),
			height,
			width,
			channels,
			label: "decoder tile",
		}),
	);
}

/**
 * Computes a source piece by piece into a plane. `last`: what it is computed from is given up on the way. `packed`: as
 * planes are, unless it says false.
 */
export function stored(
	tiling: Tiling,
	from: Source,
	{ last = false, packed = tiling.packed }: { last?: boolean; packed?: boolean } = {},
): Plane {
	const plane = new Plane(from, tiling, packed);
	for (const rect of piecesOf(from, tiling.floats)) {
		const x = tiling.take();
		from.fill(tiling, rect, x);
		plane.put(tiling, rect, x);
		tiling.give(x);
		const below = rect.top + rect.height;
		if (last && rect.left + rect.width === from.width) giveUp(tiling, from, below < from.height ? below : Infinity);
	}
	return plane;
}

/** Gives up what rows from `top` on do not need. */
export function giveUp(tiling: Tiling, from: Source, top: number): void {
	const first = new Map<Plane, number>();
	for (const [plane, row] of from.needs(top)) first.set(plane, Math.min(row, first.get(plane) ?? Infinity));
	for (const [plane, row] of first) plane.drop(tiling, row);
}
