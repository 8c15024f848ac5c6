import { kernel, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { groups as workgroups } from "../gpu/workgroups.ts";
import { IMAGE, type ImageShape, largest, pixelsOf } from "../image/images.ts";

const SLICES = 64;
/** Pixels of an invocation that applies the norm. */
const RUN = 16;

const slicing = kernel({
	name: "group norm slices",
	params: { channels: "u32", groups: "u32", images: "u32" },
	bindings: { images: read(IMAGE), x: read("f32"), parts: write("vec4f") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.images * p.groups * ${SLICES}u) { return; }
	let slice = id.x % ${SLICES}u;
	let group = (id.x / ${SLICES}u) % p.groups;
	let image = images[id.x / ${SLICES}u / p.groups];
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
	parts[id.x] = vec4f(count, mean, square, 0);
}`,
});

const joining = kernel({
	name: "group norm join",
	params: { groups: "u32", images: "u32", eps: "f32" },
	bindings: { parts: write("vec4f") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.images * p.groups) { return; }
	var all = vec3f(0);
	for (var i = 0u; i < ${SLICES}u; i++) {
		let part = parts[id.x * ${SLICES}u + i].xyz;
		if (part.x == 0.0) { continue; }
		let count = all.x + part.x;
		let delta = part.y - all.y;
		all = vec3f(count, all.y + delta * part.x / count, all.z + part.z + delta * delta * all.x * part.x / count);
	}
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
	let i = id.x % channels4;
	let first = id.x / channels4 * ${RUN}u;
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

/**
 * GroupNorm over channels-last images, then SiLU unless `plain`: y = silu((x - mean) * rstd * weight + bias),
 * statistics by (image, group). `scratch` holds at least `groupNormScratch(...)` floats. Statistics run in a fixed
 * number of slices, each in two passes, and are joined by Chan's formula, so that large pictures lose no precision.
 */
export function groupNormSilu(
	pass: Pass,
	op: {
		x: Tensor;
		y: Tensor;
		weight: Tensor;
		bias: Tensor;
		scratch: Tensor;
		images: readonly ImageShape[];
		channels: number;
		groups: number;
		eps: number;
		plain?: boolean;
		label: string;
	},
): void {
	const { x, y, weight, bias, scratch: parts, images, channels, groups, eps, plain = false, label } = op;
	const table = pass.rows(IMAGE, images);
	const count = images.length;
	pass.run(slicing, {
		label: `${label}.slices`,
		params: { channels, groups, images: count },
		bindings: { images: table, x, parts },
		groups: [workgroups(count * groups * SLICES)],
	});
	pass.run(joining, {
		label: `${label}.join`,
		params: { groups, images: count, eps },
		bindings: { parts },
		groups: [workgroups(count * groups)],
	});
	pass.run(applying, {
		label: `${label}.apply`,
		options: { plain },
		params: { channels, groups },
		bindings: { images: table, x, y, parts, weight, bias },
		groups: [workgroups(Math.ceil(pixelsOf(largest(images)) / RUN) * (channels / 4)), 1, count],
	});
}

/** Floats of scratch for a batch. */
export const groupNormScratch = (images: number, groups: number) => images * groups * SLICES * 4;
