import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { IMAGE, type ImageShape, imageTable, largest } from "../image/conv.ts";
import { groups as workgroups } from "../tokens/rows.ts";

const SLICES = 64;
/** Pixels of an invocation that applies the norm. */
const RUN = 16;

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
	const { images, channels, groups, label } = op;
	const table = imageTable(pass, images);
	const params = [channels, groups, images.length, { f32: op.eps }];
	const head = `
${IMAGE}
struct Params { channels: u32, groups: u32, images: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> images: array<Image>;`;
	const slices = `${head}
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> parts: array<vec4f>;
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
}`;
	const join = `${head}
@group(0) @binding(2) var<storage, read_write> parts: array<vec4f>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.images * p.groups || images[0].height == 0u) { return; }
	var all = vec3f(0);
	for (var i = 0u; i < ${SLICES}u; i++) {
		let part = parts[id.x * ${SLICES}u + i].xyz;
		if (part.x == 0.0) { continue; }
		let count = all.x + part.x;
		let delta = part.y - all.y;
		all = vec3f(count, all.y + delta * part.x / count, all.z + part.z + delta * delta * all.x * part.x / count);
	}
	parts[id.x * ${SLICES}u] = vec4f(all.y, inverseSqrt(all.z / all.x + p.eps), 0, 0);
}`;
	const apply = `${head}
@group(0) @binding(2) var<storage, read> x: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(4) var<storage, read> parts: array<vec4f>;
@group(0) @binding(5) var<storage, read> weight: array<vec4f>;
@group(0) @binding(6) var<storage, read> bias: array<vec4f>;
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
		y[at] = ${op.plain ? "n" : "n / (1.0 + exp(-n))"};
	}
}`;
	pass.run(`${label}.slices`, slices, params, [table, op.x, op.scratch], [workgroups(images.length * groups * SLICES)]);
	pass.run(`${label}.join`, join, params, [table, op.scratch], [workgroups(images.length * groups)]);
	pass.run(
		`${label}.apply`,
		apply,
		params,
		[table, op.x, op.y, op.scratch, op.weight, op.bias],
		[workgroups(Math.ceil(largest(images) / RUN) * (channels / 4)), 1, images.length],
	);
}

/** Floats of scratch for a batch. */
export const groupNormScratch = (images: number, groups: number) => images * groups * SLICES * 4;
