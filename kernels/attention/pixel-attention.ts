import { kernel, read, struct, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { groups } from "../gpu/workgroups.ts";
import type { ImageShape } from "../image/images.ts";

/** Pixels of an image, and where its square of scores begins. */
const SQUARE = struct("Square", { pixel: "u32", pixels: "u32", scores: "u32" });

const scoring = kernel({
	name: "pixel attention scores",
	params: { channels4: "u32", scale: "f32" },
	bindings: { images: read(SQUARE), qkv: read("vec4f"), scores: write("f32") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let image = images[id.z];
	if (id.x >= image.pixels || id.y >= image.pixels) { return; }
	let q = (image.pixel + id.y) * 3u * p.channels4;
	let k = (image.pixel + id.x) * 3u * p.channels4 + p.channels4;
	var sum = vec4f(0);
	for (var c = 0u; c < p.channels4; c++) { sum = fma(qkv[q + c], qkv[k + c], sum); }
	scores[image.scores + id.y * image.pixels + id.x] = dot(sum, vec4f(1)) * p.scale;
}`,
});

const normalising = kernel({
	name: "pixel attention softmax",
	bindings: { images: read(SQUARE), scores: write("f32") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let image = images[id.z];
	if (id.x >= image.pixels) { return; }
	let first = image.scores + id.x * image.pixels;
	var top = scores[first];
	for (var i = 1u; i < image.pixels; i++) { top = max(top, scores[first + i]); }
	var total = 0.0;
	for (var i = 0u; i < image.pixels; i++) {
		let weight = exp(scores[first + i] - top);
		scores[first + i] = weight;
		total += weight;
	}
	for (var i = 0u; i < image.pixels; i++) { scores[first + i] /= total; }
}`,
});

const mixing = kernel({
	name: "pixel attention mix",
	params: { channels4: "u32" },
	bindings: { images: read(SQUARE), qkv: read("vec4f"), scores: read("f32"), y: write("vec4f") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let image = images[id.z];
	if (id.x >= p.channels4 || id.y >= image.pixels) { return; }
	var sum = vec4f(0);
	for (var i = 0u; i < image.pixels; i++) {
		let v = qkv[(image.pixel + i) * 3u * p.channels4 + 2u * p.channels4 + id.x];
		sum = fma(vec4f(scores[image.scores + id.y * image.pixels + i]), v, sum);
	}
	y[(image.pixel + id.y) * p.channels4 + id.x] = sum;
}`,
});

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
	const { qkv, y, scores, channels, label } = op;
	const channels4 = channels / 4;
	let square = 0;
	const squares = op.images.map(({ pixel, height, width }) => {
		const pixels = height * width;
		return { pixel, pixels, scores: (square += pixels ** 2) - pixels ** 2 };
	});
	const images = pass.rows(SQUARE, squares);
	const largest = Math.max(...squares.map(({ pixels }) => pixels));
	pass.run(scoring, {
		label: `${label}.scores`,
		params: { channels4, scale: channels ** -0.5 },
		bindings: { images, qkv, scores },
		groups: [groups(largest), largest, squares.length],
	});
	pass.run(normalising, {
		label: `${label}.softmax`,
		bindings: { images, scores },
		groups: [groups(largest), 1, squares.length],
	});
	pass.run(mixing, {
		label: `${label}.mix`,
		params: { channels4 },
		bindings: { images, qkv, scores, y },
		groups: [groups(channels4), largest, squares.length],
	});
}
