import { kernel, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { FLAT, flatGroups, groups as workgroups } from "../gpu/workgroups.ts";
import type { Corner } from "../image/crop.ts";
import { IMAGE, type ImageShape, largest, pixelsOf } from "../image/images.ts";

/** Stretches of an image's pixels, row by row, that statistics are summed over. */
export const SLICES = 64;
/** Pixels of an invocation that applies the norm. */
const RUN = 16;

const slicing = kernel({
	name: "group norm slices",
	params: { channels: "u32", groups: "u32", images: "u32", first: "u32", slices: "u32" },
	bindings: { images: read(IMAGE), x: read("f32"), parts: write("vec4f") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.images * p.groups * p.slices) { return; }
	let slice = p.first + id.x % p.slices;
	let part = id.x / p.slices * ${SLICES}u + slice;
	let group = (id.x / p.slices) % p.groups;
	let image = images[id.x / p.slices / p.groups];
	let size = p.channels / p.groups;
	let pixels = image.height * image.width;
	let chunk = (pixels + ${SLICES - 1}u) / ${SLICES}u;
	let first = min(slice * chunk, pixels);
	let last = min(first + chunk, pixels);
	let count = f32((last - first) * size);
	var sum = 0.0;
	for (var i = first; i < last; i++) {
		let at = (image.pixel + i) * p.channels + group * size;
		for (var c = 0u; c < size; c++) { sum += x[at + c]; }
	}
	let mean = sum / max(count, 1.0);
	var square = 0.0;
	for (var i = first; i < last; i++) {
		let at = (image.pixel + i) * p.channels + group * size;
		for (var c = 0u; c < size; c++) { let d = x[at + c] - mean; square += d * d; }
	}
	parts[part] = vec4f(count, mean, square, 0);
}`,
});

/** Chan's formula: (count, mean, sum of squares) of both. */
const JOINED = `
fn joined(all: vec3f, part: vec3f) -> vec3f {
	if (part.x == 0.0) { return all; }
	let count = all.x + part.x;
	let delta = part.y - all.y;
	return vec3f(count, all.y + delta * part.x / count, all.z + part.z + delta * delta * all.x * part.x / count);
}`;

/** Rows of a rectangle, by turns: slice s gets rows s, s + SLICES and so on, beside what it has. */
const adding = kernel({
	name: "group norm tile",
	params: {
		channels: "u32",
		groups: "u32",
		height: "u32",
		width: "u32",
		pixel: "u32",
		stride: "u32",
		begins: "u32",
	},
	bindings: { x: read("f32"), parts: write("vec4f") },
	code: () => `${JOINED}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.groups * ${SLICES}u) { return; }
	let size = p.channels / p.groups;
	let count = f32(p.width * size);
	var all = select(parts[id.x].xyz, vec3f(0), p.begins == 1u);
	for (var row = id.x % ${SLICES}u; row < p.height; row += ${SLICES}u) {
		let first = (p.pixel + row * p.stride) * p.channels + id.x / ${SLICES}u * size;
		var sum = 0.0;
		for (var i = 0u; i < p.width; i++) {
			for (var c = 0u; c < size; c++) { sum += x[first + i * p.channels + c]; }
		}
		let mean = sum / count;
		var square = 0.0;
		for (var i = 0u; i < p.width; i++) {
			for (var c = 0u; c < size; c++) { let d = x[first + i * p.channels + c] - mean; square += d * d; }
		}
		all = joined(all, vec3f(count, mean, square));
	}
	parts[id.x] = vec4f(all, 0);
}`,
});

const joining = kernel({
	name: "group norm join",
	params: { groups: "u32", images: "u32", eps: "f32" },
	bindings: { parts: write("vec4f") },
	code: () => `${JOINED}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.images * p.groups) { return; }
	var all = vec3f(0);
	for (var i = 0u; i < ${SLICES}u; i++) { all = joined(all, parts[id.x * ${SLICES}u + i].xyz); }
	parts[id.x * ${SLICES}u] = vec4f(all.y, inverseSqrt(all.z / all.x + p.eps), 0, 0);
}`,
});

const applying = kernel({
	name: "group norm",
	params: { channels: "u32", groups: "u32" },
	bindings: {
		images: read(IMAGE),
		x: read("vec4f"),
		y: write("vec4f"),
		parts: read("vec4f"),
		weight: read("vec4f"),
		bias: read("vec4f"),
	},
	code: ({ plain }: { plain: boolean }) => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	// One invocation is four channels of a run of pixels: their statistics and weights are loaded once.
	let image = images[id.z];
	let channels4 = p.channels / 4u;
	let pixels = image.height * image.width;
	let i = ${FLAT} % channels4;
	let first = ${FLAT} / channels4 * ${RUN}u;
	if (first >= pixels) { return; }
	let size = p.channels / p.groups;
	var mean: vec4f;
	var rstd: vec4f;
	for (var q = 0u; q < 4u; q++) {
		let stats = parts[(id.z * p.groups + (i * 4u + q) / size) * ${SLICES}u].xy;
		mean[q] = stats.x;
		rstd[q] = stats.y;
	}
	let w = weight[i];
	let b = bias[i];
	for (var pixel = first; pixel < min(first + ${RUN}u, pixels); pixel++) {
		let at = (image.pixel + pixel) * channels4 + i;
		let n = (x[at] - mean) * rstd * w + b;
		y[at] = ${plain ? "n" : "n / (1.0 + exp(-n))"};
	}
}`,
});

/** What all parts of a norm are told; statistics lie in `scratch`, `groupNormScratch(...)` floats. */
interface Norm {
	x: Tensor;
	scratch: Tensor;
	channels: number;
	groups: number;
	label: string;
}

/**
 * GroupNorm over channels-last images, then SiLU unless `plain`: y = silu((x - mean) * rstd * weight + bias),
 * statistics by (image, group). Statistics run in a fixed number of slices, each in two passes, and are joined by
 * Chan's formula, so that large pictures lose no precision.
 */
export function groupNormSilu(pass: Pass, op: ApplyNorm & { eps: number }): void {
	const { images } = op;
	sumSlices(pass, op, images, 0, SLICES);
	joinSlices(pass, { ...op, images: images.length });
	applyGroupNorm(pass, op);
}

function sumSlices(pass: Pass, op: Norm, images: readonly ImageShape[], first: number, slices: number): void {
	const { x, scratch: parts, channels, groups, label } = op;
	const count = images.length;
	pass.run(slicing, {
		label: `${label}.slices`,
		params: { channels, groups, images: count, first, slices },
		bindings: { images: pass.rows(IMAGE, images), x, parts },
		groups: [workgroups(count * groups * slices)],
	});
}

/**
 * Slices `first` to `first + slices` of an image of which x holds only a window of whole rows, from row `top` on; they
 * lie in it. Once all are summed, `joinSlices` gives the bits of `groupNormSilu`.
 */
export function sumSlicesOfWindow(
	pass: Pass,
	op: Norm & { height: number; width: number; top: number; first: number; slices: number },
): void {
	const { height, width, top, first, slices } = op;
	// Words wrap around in the kernel as they do in the table.
	sumSlices(pass, op, [{ pixel: -top * width, height, width }], first, slices);
}

/**
 * Adds a rectangle of x to the statistics of one image, or begins them with it. For windows that hold no slice: within
 * rounding of `groupNormSilu`, whose sums run in another order.
 */
export function sumRectangle(
	pass: Pass,
	op: Norm & { at: Corner; height: number; width: number; begins: boolean },
): void {
	const { x, scratch: parts, at, height, width, channels, groups, begins, label } = op;
	pass.run(adding, {
		label: `${label}.tile`,
		params: { channels, groups, height, width, ...at, begins: begins ? 1 : 0 },
		bindings: { x, parts },
		groups: [workgroups(groups * SLICES)],
	});
}

/** From what was summed of the slices to mean and 1 / deviation of each group. */
export function joinSlices(
	pass: Pass,
	op: Pick<Norm, "scratch" | "groups" | "label"> & { images: number; eps: number },
): void {
	const { scratch: parts, groups, images, eps, label } = op;
	pass.run(joining, {
		label: `${label}.join`,
		params: { groups, images, eps },
		bindings: { parts },
		groups: [workgroups(images * groups)],
	});
}

interface ApplyNorm extends Norm {
	y: Tensor;
	weight: Tensor;
	bias: Tensor;
	/** Whole ones, or a window of one. */
	images: readonly ImageShape[];
	plain?: boolean;
}

/** y = silu((x - mean) * rstd * weight + bias), by statistics that are there. */
export function applyGroupNorm(pass: Pass, op: ApplyNorm): void {
	const { x, y, weight, bias, scratch: parts, images, channels, groups, plain = false, label } = op;
	const [across, down] = flatGroups(Math.ceil(pixelsOf(largest(images)) / RUN) * (channels / 4));
	pass.run(applying, {
		label: `${label}.apply`,
		options: { plain },
		params: { channels, groups },
		bindings: { images: pass.rows(IMAGE, images), x, y, parts, weight, bias },
		groups: [across, down, images.length],
	});
}

/** Floats of scratch for a batch. */
export const groupNormScratch = (images: number, groups: number) => images * groups * SLICES * 4;
