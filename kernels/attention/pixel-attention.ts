import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import type { ImageShape } from "../image/conv.ts";
import { groups } from "../tokens/rows.ts";

/**
 * One head of attention over the pixels of each image, softmax(q k^T / sqrt(channels)) v, for heads too wide for
 * registers: the scores of all pairs go through memory.
 *
 * qkv: [pixels, 3 * channels] as q, k, v -> y: [pixels, channels]; `scores`: scratch of the squares of the images'
 * pixels.
 */
export function pixelAttention(
	pass: Pass,
	op: { qkv: Tensor; y: Tensor; scores: Tensor; images: readonly ImageShape[]; channels: number; label: string },
): void {
	const { channels, images, label } = op;
	let square = 0;
	const sizes = images.map(({ height, width }) => height * width);
	const table = pass.table(
		images.flatMap(({ pixel }, i) => [pixel, sizes[i], (square += sizes[i] ** 2) - sizes[i] ** 2, 0]),
	);
	const largest = Math.max(...sizes);
	const head = `
struct Square { pixel: u32, pixels: u32, scores: u32, pad: u32 }
struct Params { channels4: u32, scale: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> images: array<Square>;`;
	const params = [channels / 4, { f32: channels ** -0.5 }, 0, 0];
	const scores = `${head}
@group(0) @binding(2) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let image = images[id.z];
	if (id.x >= image.pixels || id.y >= image.pixels) { return; }
	let q = (image.pixel + id.y) * 3u * p.channels4;
	let k = (image.pixel + id.x) * 3u * p.channels4 + p.channels4;
	var sum = vec4f(0);
	for (var c = 0u; c < p.channels4; c++) { sum = fma(qkv[q + c], qkv[k + c], sum); }
	scores[image.scores + id.y * image.pixels + id.x] = dot(sum, vec4f(1)) * p.scale;
}`;
	const softmax = `${head}
@group(0) @binding(2) var<storage, read_write> scores: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let image = images[id.z];
	if (id.x >= image.pixels || p.channels4 == 0u) { return; }
	let first = image.scores + id.x * image.pixels;
	var top = scores[first];
	for (var i = 1u; i < image.pixels; i++) { top = max(top, scores[first + i]); }
	var total = 0.0;
	for (var i = 0u; i < image.pixels; i++) { let weight = exp(scores[first + i] - top); scores[first + i] = weight; total += weight; }
	for (var i = 0u; i < image.pixels; i++) { scores[first + i] /= total; }
}`;
	const mix = `${head}
@group(0) @binding(2) var<storage, read> qkv: array<vec4f>;
@group(0) @binding(3) var<storage, read> scores: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let image = images[id.z];
	if (id.x >= p.channels4 || id.y >= image.pixels) { return; }
	var sum = vec4f(0);
	for (var i = 0u; i < image.pixels; i++) {
		sum = fma(vec4f(scores[image.scores + id.y * image.pixels + i]), qkv[(image.pixel + i) * 3u * p.channels4 + 2u * p.channels4 + id.x], sum);
	}
	y[(image.pixel + id.y) * p.channels4 + id.x] = sum;
}`;
	pass.run(`${label}.scores`, scores, params, [table, op.qkv, op.scores], [groups(largest), largest, images.length]);
	pass.run(`${label}.softmax`, softmax, params, [table, op.scores], [groups(largest), 1, images.length]);
	pass.run(
		`${label}.mix`,
		mix,
		params,
		[table, op.qkv, op.scores, op.y],
		[groups(channels / 4), largest, images.length],
	);
}
