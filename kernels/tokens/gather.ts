import type { Gpu } from "../gpu/gpu.ts";
import { kernel, optional, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import { elements, type Tensor } from "../gpu/tensor.ts";
import { betweenWindows, bound, boundWhole, byWindows, windowsOf } from "../gpu/windows.ts";
import { FLAT, flatGroups } from "../gpu/workgroups.ts";

/** [rows, width], or as many rows as one tensor holds: then its shape begins with their count, others are `next`. */
export interface Table extends Tensor {
	next?: Table;
}

const gathering = kernel({
	name: "gather rows",
	params: { count: "u32", width4: "u32", to: "u32", first: "u32?", rows: "u32?", entry: "u32?" },
	bindings: {
		x: read("vec4f"),
		index: read("u32"),
		y: write("vec4f"),
		extra: optional(read("vec4f")),
		extraIndex: optional(read("u32")),
	},
	code: ({ part }: { part: boolean }, { extra }) => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i >= p.count * p.width4) { return; }
	let row = i / p.width4;
	let c = i % p.width4;
	let at = index[p.entry + row]${part ? " - p.first" : ""};
	${part ? "if (at >= p.rows) { return; }" : ""}
	y[p.to * p.width4 + i] = x[at * p.width4 + c]${extra ? " + extra[extraIndex[p.entry + row] * p.width4 + c]" : ""};
}`,
});

/**
 * y[to + i] = x[index[i]] (+ extra[extraIndex[i]]), rows of `width` floats: embeddings, broadcasts of a row, level
 * embeddings. `index` and `extraIndex` are u32 tensors of `count` entries; x and y are of any length.
 */
export function gatherRows(
	pass: Pass,
	op: {
		x: Table;
		index: Tensor;
		y: Tensor;
		to?: number;
		count: number;
		width: number;
		extra?: { table: Tensor; index: Tensor };
		label: string;
	},
): void {
	const { x, index, y, to = 0, count, width, extra, label } = op;
	const { gpu } = pass;
	/** Entries from `entry` on, to row `to` of a part of y. */
	const into = (y: Tensor, to: number, entry: number, count: number) => {
		for (const { tensor, first, rows } of partsOf(gpu, x, width, label))
			pass.run(gathering, {
				label,
				options: { part: tensor !== x },
				params: { count, width4: width / 4, to, first, rows, entry },
				bindings: { x: tensor, index, y, extra: extra?.table, extraIndex: extra?.index },
				groups: flatGroups((count * width) / 4),
			});
	};
	if (boundWhole(gpu, y)) into(y, to, 0, count);
	else
		byWindows(gpu, { first: to, count }, [[y, width]], label, ([y], { first, count, at }) =>
			into(y, at, first - to, count),
		);
}

/** A table as bindings hold it: itself, or those of its rows from `first` on. */
function* partsOf(
	gpu: Gpu,
	table: Table,
	width: number,
	label: string,
): Generator<{ tensor: Tensor; first: number; rows: number }> {
	for (let part: Table | undefined = table, first = 0; part; first += part.shape[0], part = part.next) {
		if (boundWhole(gpu, part))
			yield { tensor: part.next || first > 0 ? { ...part } : part, first, rows: part.shape[0] };
		else {
			const rows = Math.floor(elements(part.shape) / width);
			for (const window of windowsOf(gpu, { first: 0, count: rows }, [[part, width]], label)) {
				const end = window.first + window.count;
				yield { tensor: bound(part, width, window.first, end), first: first + window.first, rows: window.count };
			}
		}
	}
}

const copying = kernel({
	name: "copy",
	params: { count4: "u32", from4: "u32", to4: "u32" },
	bindings: { x: read("vec4u"), y: write("vec4u") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i < p.count4) { y[p.to4 + i] = x[p.from4 + i]; }
}`,
});

const converting = kernel({
	name: "convert",
	params: { count4: "u32", from4: "u32", to4: "u32" },
	bindings: { x: read("vec4"), y: write("vec4") },
	code: (_, { y }) => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i < p.count4) { y[p.to4 + i] = ${y === "f16" ? "vec4h" : "vec4f"}(x[p.from4 + i]); }
}`,
});

/**
 * Copies `count` elements, from element `from` of x to element `to` of y; all three are multiples of 4 (`count` is
 * rounded up), of tensors of any length. Bit for bit where both are of one type of 4 bytes, converted between f32 and
 * f16.
 */
export function copy(
	pass: Pass,
	op: { x: Tensor; from?: number; y: Tensor; to?: number; count: number; label: string },
): void {
	const { label } = op;
	stretches(pass, op, (x, from, y, to, count) =>
		pass.run(x.dtype || y.dtype ? converting : copying, {
			label,
			params: { count4: Math.ceil(count / 4), from4: from / 4, to4: to / 4 },
			bindings: { x, y },
			groups: flatGroups(Math.ceil(count / 4)),
		}),
	);
}

/** As many elements of both at a time as bindings hold. */
function stretches(
	{ gpu }: Pass,
	{ x, from = 0, y, to = 0, count, label }: Parameters<typeof copy>[1],
	run: (x: Tensor, from: number, y: Tensor, to: number, count: number) => void,
): void {
	const [source, target] = [
		{ tensor: x, columns: 1, first: from },
		{ tensor: y, columns: 1, first: to },
	];
	betweenWindows(gpu, source, target, Math.ceil(count / 4) * 4, label, (x, y, count) =>
		run(x.tensor, x.first, y.tensor, y.first, count),
	);
}

const copyingWords = kernel({
	name: "copy words",
	params: { count: "u32", to: "u32" },
	bindings: { x: read("u32"), y: write("u32") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i < p.count) { y[p.to + i] = x[i]; }
}`,
});

/** Copies `count` 32-bit words to word `to` of y. */
export function copyWords(pass: Pass, op: { x: Tensor; y: Tensor; to: number; count: number; label: string }): void {
	const { x, y, to, count, label } = op;
	pass.run(copyingWords, { label, params: { count, to }, bindings: { x, y }, groups: flatGroups(count) });
}

const subtracting = kernel({
	name: "subtract from",
	params: { count4: "u32", from4: "u32", to4: "u32" },
	bindings: { x: read("vec4f"), y: write("vec4f") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i < p.count4) { y[p.to4 + i] = x[p.from4 + i] - y[p.to4 + i]; }
}`,
});

/**
 * y = x - y over `count` floats (a multiple of 4) of tensors of any length, from `from` of x and `to` of y on: what was
 * added since y was copied from x.
 */
export function subtractFrom(
	pass: Pass,
	op: { x: Tensor; from: number; y: Tensor; to: number; count: number; label: string },
): void {
	const { label } = op;
	stretches(pass, op, (x, from, y, to, count) =>
		pass.run(subtracting, {
			label,
			params: { count4: count / 4, from4: from / 4, to4: to / 4 },
			bindings: { x, y },
			groups: flatGroups(count / 4),
		}),
	);
}

const packing = kernel({
	name: "pack rgb",
	params: { pixels: "u32", channels4: "u32" },
	bindings: { x: read("vec4f"), y: write("u32") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i < p.pixels) {
		y[i] = pack4x8unorm(vec4f(clamp(x[i * p.channels4].rgb, vec3f(-1), vec3f(1)) * 0.5 + 0.5, 1.0));
	}
}`,
});

/** Channels-last floats in [-1, 1] to packed 8-bit RGBA: x [pixels, channels] -> y u32 [pixels], opaque. */
export function packRgb(
	pass: Pass,
	op: { x: Tensor; y: Tensor; pixels: number; channels: number; label: string },
): void {
	const { x, y, pixels, channels, label } = op;
	pass.run(packing, {
		label,
		params: { pixels, channels4: channels / 4 },
		bindings: { x, y },
		groups: flatGroups(pixels),
	});
}
