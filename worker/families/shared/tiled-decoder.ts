/**
 * The picture decoder over images that no single tensor holds: layer by layer, each stored in tiles of which the next
 * one computes rectangles, with as many neighbours as its convolutions see. A norm needs statistics of all of its input
 * first: what it reads is computed once more then, unless there is room to store it. So memory does not grow with the
 * picture beyond `stored`; what is computed does: of all layers in a row that are not stored, once for each of them.
 * The bits are those of the whole image's decoder, but for statistics in windows that hold none of their slices, and
 * for what is stored as f16.
 */
import { pixelAttention } from "../../../kernels/attention/pixel-attention.ts";
import type { Tensor } from "../../../kernels/gpu/tensor.ts";
import { joinSlices, SLICES, sumRectangle, sumSlicesOfWindow } from "../../../kernels/norm/group-norm.ts";
import { packRgb } from "../../../kernels/tokens/gather.ts";
import { type Convolution, type DecoderOps, pixelsOf } from "./decoder-ops.ts";
import {
	buffersOf,
	giveUp,
	grown,
	most,
	move,
	Plane,
	piecesOf,
	type Rect,
	type Size,
	type Source,
	stored,
	type Tiling,
	wholeRows,
} from "./tiles.ts";
import type { DecoderLayer } from "./vae.ts";

export interface TiledDecoder {
	tiling: Tiling;
	/** Not used where nothing is recorded. */
	ops: DecoderOps;
	/** Of the norms of each layer for one image, `NORMS` a layer: what is not stored is computed again with them. */
	statistics: readonly Tensor[];
	/** Floats of what is stored at a time, at most; what would take more is computed wherever it is asked for. */
	stored: number;
	/** Told of each layer that has names. */
	tap(layer: DecoderLayer, plane: Plane): void;
}

/** Norms of a layer, at most. */
export const NORMS = 2;

/** A rectangle of the picture: floats [pixels, 4] and words [pixels], in buffers that are not given back. */
export interface DecodedTile {
	rect: Rect;
	output: Tensor;
	rgba: Tensor;
}

/** Decodes one latent. */
export function decodeTiles(decoder: TiledDecoder, latent: Source, layers: readonly DecoderLayer[]): DecodedTile[] {
	const { tiling } = decoder;
	const room = Math.floor(decoder.stored / tiling.floats);
	let x = latent;
	for (const [i, layer] of layers.entries()) {
		const statistics = decoder.statistics.slice(i * NORMS, (i + 1) * NORMS);
		const next = layerOf({ ...decoder, statistics }, layer, x, room);
		if (layer.taps && next instanceof Plane) decoder.tap(layer, next);
		x = next;
	}
	return (x as Plane).tiles.map(({ rect, tensor: output }) => {
		const rgba = tiling.take();
		const pixels = rect.height * rect.width;
		tiling.record((pass) => packRgb(pass, { x: output, y: rgba, pixels, channels: 4, label: "decoder pack" }));
		return { rect, output, rgba };
	});
}

/** A layer of x, stored where there is room for it; x is given up then. */
function layerOf(decoder: TiledDecoder, layer: DecoderLayer, x: Source, room: number): Source {
	const { tiling } = decoder;
	const { kind, name, to, taps } = layer;
	// Others read these.
	const whole = { last: true, ...((taps || kind === "finish") && { packed: false }) };
	switch (kind) {
		case "convolution":
			return stored(tiling, convolved(decoder, x, name, to, { side: layer.side }), whole);
		case "enlarge":
			return enlarged(decoder, x, name, to);
		case "residual": {
			const sum = residual(decoder, x, name, to, room);
			return taps ? stored(tiling, sum, whole) : inPlace(tiling, sum, room);
		}
		case "attention":
			return attention(decoder, x, name, whole.packed);
		case "finish": {
			const normed = normOf(decoder, x, `${name}norm_out`, 0);
			return stored(tiling, convolved(decoder, normed, `${name}conv_out`, Math.ceil(to / 4) * 4), whole);
		}
	}
}

/** Stored where there is room for it in place of what it is computed from, else computed wherever it is asked for. */
const inPlace = (tiling: Tiling, from: Source, room: number): Source =>
	buffersOf(from, tiling) <= room ? stored(tiling, from, { last: true }) : from;

/** The same beside what it is computed from. */
function beside(tiling: Tiling, from: Source, room: number): Source {
	const planes = new Set(from.needs(0).map(([plane]) => plane));
	const held = [...planes].reduce((sum, { buffers }) => sum + buffers, 0);
	return held + buffersOf(from, tiling) <= room ? stored(tiling, from) : from;
}

/** Its sum is not stored yet. */
function residual(decoder: TiledDecoder, input: Source, name: string, to: number, room: number): Source {
	const { tiling } = decoder;
	const x = input instanceof Plane ? input : inPlace(tiling, input, room);
	const normed = normOf(decoder, x, `${name}.norm1`, 0);
	const inner = beside(tiling, convolved(decoder, normed, `${name}.conv1`, to), room);
	const second = normOf(decoder, inner, `${name}.norm2`, 1);
	if (!(inner instanceof Plane)) return fused(decoder, x, name, to);
	const rest = x.channels === to ? x : convolved(decoder, x, `${name}.nin_shortcut`, to, { side: 1 });
	return convolved(decoder, second, `${name}.conv2`, to, { beside: rest });
}

/** A residual block whose statistics are there, from its input alone: that is had once, with two more rows around. */
function fused({ tiling, ops, statistics }: TiledDecoder, from: Source, name: string, channels: number): Source {
	return {
		...sizeOf(from),
		channels,
		window(height, width) {
			const [rows, columns] = [Math.min(height + 4, from.height), Math.min(width + 4, from.width)];
			return Math.max(rows * columns * channels, from.window(rows, columns));
		},
		fill(_, rect, to) {
			const wide = grown(rect, 2, from);
			const images = [imageOf(wide)];
			const x = tiling.take();
			from.fill(tiling, wide, x);
			const [a, b] = [tiling.take(), tiling.take()];
			const shortcut = from.channels !== channels;
			const sum = shortcut ? b : x;
			const convolve = convolver({ tiling, ops });
			const [first, second] = statistics;
			const input = { images, from: from.channels, to: channels };
			tiling.record((pass) =>
				ops.applyNorm(pass, `${name}.norm1`, { x, y: a, scratch: first, images, channels: from.channels }),
			);
			convolve(`${name}.conv1`, { x: a, y: b, ...input });
			tiling.record((pass) => ops.applyNorm(pass, `${name}.norm2`, { x: b, y: a, scratch: second, images, channels }));
			if (shortcut) convolve(`${name}.nin_shortcut`, { x, y: b, ...input, side: 1 });
			convolve(`${name}.conv2`, { x: a, y: sum, images, from: channels, to: channels, add: true });
			move(tiling, channels, { rect: wide, tensor: sum }, { rect, tensor: to });
			for (const buffer of [x, a, b]) tiling.give(buffer);
		},
		needs: (top) => from.needs(Math.max(0, top - 2)),
	};
}

/** Over all pixels of the coarsest level, which buffers hold whole. */
function attention(
	{ tiling, ops, statistics: [scratch] }: TiledDecoder,
	x: Source,
	name: string,
	packed: boolean | undefined,
): Plane {
	const { height, width, channels } = x;
	const all = { top: 0, left: 0, height, width };
	const images = [{ pixel: 0, height, width }];
	sumUp({ tiling, ops }, x, scratch, `${name}.norm`);
	const [sum, a, qkv, scores] = [tiling.take(), tiling.take(), tiling.take(), tiling.take()];
	x.fill(tiling, all, sum);
	giveUp(tiling, x, Infinity);
	const convolve = convolver({ tiling, ops });
	tiling.record((pass) =>
		ops.applyNorm(pass, `${name}.norm`, { x: sum, y: a, scratch, images, channels, plain: true }),
	);
	convolve(`${name}.qkv`, { x: a, y: qkv, images, from: channels, to: 3 * channels, side: 1 });
	tiling.record((pass) => pixelAttention(pass, { qkv, y: a, scores, images, channels, label: name }));
	convolve(`${name}.proj_out`, { x: a, y: sum, images, from: channels, to: channels, side: 1, add: true });
	const plane = new Plane(x, tiling, packed);
	plane.put(tiling, all, sum);
	for (const buffer of [sum, a, qkv, scores]) tiling.give(buffer);
	return plane;
}

/** SiLU of a norm. Its statistics are made here; `use` says where. */
function normOf(decoder: TiledDecoder, from: Source, name: string, use: 0 | 1): Source {
	const { tiling, ops } = decoder;
	const scratch = decoder.statistics[use];
	sumUp(decoder, from, scratch, name);
	const { channels } = from;
	return {
		...sizeOf(from),
		window: (height, width) => from.window(height, width),
		fill(_, rect, y) {
			const x = tiling.take();
			from.fill(tiling, rect, x);
			tiling.record((pass) => ops.applyNorm(pass, name, { x, y, scratch, images: [imageOf(rect)], channels }));
			tiling.give(x);
		},
		needs: (top) => from.needs(top),
	};
}

/** Statistics of all of a source: the slices of the whole image where windows hold them, else rectangles. */
function sumUp(
	{ tiling, ops }: Pick<TiledDecoder, "tiling" | "ops">,
	from: Source,
	scratch: Tensor,
	name: string,
): void {
	const { height, width, channels } = from;
	const windows = sliceWindows(from, tiling.floats);
	const over = (rect: Rect, sum: (op: ReturnType<typeof common> & { x: Tensor }) => void) => {
		const x = tiling.take();
		from.fill(tiling, rect, x);
		sum({ ...common(), x });
		tiling.give(x);
	};
	const common = () => ({ scratch, channels, label: name });
	for (const { rect, first, slices } of windows ?? [])
		over(rect, (op) =>
			tiling.record((pass) =>
				sumSlicesOfWindow(pass, { ...op, ...ops.statistics(channels), height, width, top: rect.top, first, slices }),
			),
		);
	if (!windows) {
		tiling.rectangles();
		for (const [i, rect] of piecesOf(from, tiling.floats).entries())
			over(rect, (op) =>
				tiling.record((pass) =>
					sumRectangle(pass, {
						...op,
						...ops.statistics(channels),
						at: { pixel: 0, stride: rect.width },
						height: rect.height,
						width: rect.width,
						begins: i === 0,
					}),
				),
			);
	}
	tiling.record((pass) => joinSlices(pass, { scratch, images: 1, ...ops.statistics(channels), label: name }));
}

/** Windows of whole rows, each with the slices that lie in it; undefined where one slice does not fit a buffer. */
function sliceWindows(from: Source, floats: number): { rect: Rect; first: number; slices: number }[] | undefined {
	const { height, width } = from;
	const rows = wholeRows(from, floats);
	const chunk = Math.ceil((height * width) / SLICES);
	const rectOf = (first: number, slices: number): Rect => {
		const top = Math.min(Math.floor((first * chunk) / width), height - 1);
		const bottom = Math.min(Math.ceil(((first + slices) * chunk) / width), height);
		return { top, left: 0, height: Math.max(1, bottom - top), width };
	};
	const windows = [];
	for (let first = 0; first < SLICES; ) {
		const slices = most(SLICES - first, (count) => rectOf(first, count).height <= rows);
		if (slices === 0) return;
		windows.push({ rect: rectOf(first, slices), first, slices });
		first += slices;
	}
	return windows;
}

/** A convolution, added to what is `beside` it where there is something. */
function convolved(
	{ tiling, ops }: TiledDecoder,
	from: Source,
	name: string,
	channels: number,
	{ side = 3, beside }: { side?: 1 | 3; beside?: Source } = {},
): Source {
	const around = (rect: Rect) => grown(rect, (side - 1) / 2, from);
	return {
		...sizeOf(from),
		channels,
		window(height, width) {
			const rows = Math.min(height + side - 1, from.height);
			const columns = Math.min(width + side - 1, from.width);
			return Math.max(rows * columns * channels, from.window(rows, columns), beside ? beside.window(rows, columns) : 0);
		},
		fill(_, rect, to) {
			const wide = around(rect);
			const exact = side === 1;
			const x = tiling.take();
			from.fill(tiling, wide, x);
			const y = exact ? to : tiling.take();
			beside?.fill(tiling, wide, y);
			const op = { x, y, images: [imageOf(wide)], from: from.channels, to: channels, side, add: beside !== undefined };
			convolver({ tiling, ops })(name, op);
			tiling.give(x);
			if (exact) return;
			move(tiling, channels, { rect: wide, tensor: y }, { rect, tensor: to });
			tiling.give(y);
		},
		needs: (top) => [...from.needs(Math.max(0, top - (side - 1) / 2)), ...(beside?.needs(Math.max(0, top - 1)) ?? [])],
	};
}

/** A convolution of a nearest x2 enlargement. */
function enlarged({ tiling, ops }: TiledDecoder, from: Source, name: string, channels: number): Source {
	const size = { height: 2 * from.height, width: 2 * from.width };
	/** Of `from`: what a rectangle and its neighbours come from. */
	const below = (rect: Rect): Rect => {
		const wide = grown(rect, 1, size);
		const [top, left] = [Math.floor(wide.top / 2), Math.floor(wide.left / 2)];
		return {
			top,
			left,
			height: Math.ceil((wide.top + wide.height) / 2) - top,
			width: Math.ceil((wide.left + wide.width) / 2) - left,
		};
	};
	return {
		...size,
		channels,
		window(height, width) {
			const rows = Math.min(Math.ceil((height + 2) / 2) + 1, from.height);
			const columns = Math.min(Math.ceil((width + 2) / 2) + 1, from.width);
			return Math.max(4 * rows * columns * channels, from.window(rows, columns));
		},
		fill(_, rect, to) {
			const low = below(rect);
			const high = { top: 2 * low.top, left: 2 * low.left, height: 2 * low.height, width: 2 * low.width };
			const x = tiling.take();
			from.fill(tiling, low, x);
			const y = tiling.take();
			const op = { x, y, images: [imageOf(high)], from: from.channels, to: channels, upsample: true };
			convolver({ tiling, ops })(name, op);
			move(tiling, channels, { rect: high, tensor: y }, { rect, tensor: to });
			tiling.give(x);
			tiling.give(y);
		},
		needs: (top) => from.needs(top === Infinity ? top : Math.max(0, Math.floor((top - 1) / 2))),
	};
}

/** Records a convolution, and what it takes. */
const convolver =
	({ tiling, ops }: Pick<TiledDecoder, "tiling" | "ops">) =>
	(name: string, op: Convolution): void =>
		tiling.record(
			(pass) => ops.convolution(pass, name, op),
			2 * pixelsOf(op.images) * op.from * op.to * (op.side ?? 3) ** 2,
		);

const sizeOf = ({ height, width, channels }: Size): Size => ({ height, width, channels });
const imageOf = ({ height, width }: Rect) => ({ pixel: 0, height, width });
