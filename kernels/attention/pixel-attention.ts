import { kernel, read, struct, type Values, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { groups } from "../gpu/workgroups.ts";
import type { ImageShape } from "../image/images.ts";

/** Pixels of an image, the queries among them that are asked, and where their scores begin. */
const SQUARE = struct("Square", { pixel: "u32", pixels: "u32", first: "u32", queries: "u32", scores: "u32" });
type Square = Values<typeof SQUARE.fields>;

const scoring = kernel({
	name: "pixel attention scores",
	params: { channels4: "u32", scale: "f32" },
	bindings: { images: read(SQUARE), qkv: read("vec4f"), scores: write("f32") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let image = images[id.z];
	if (id.x >= image.pixels || id.y >= image.queries) { return; }
	let q = (image.pixel + image.first + id.y) * 3u * p.channels4;
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
	if (id.x >= image.queries) { return; }
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
	if (id.x >= p.channels4 || id.y >= image.queries) { return; }
	var sum = vec4f(0);
	for (var i = 0u; i < image.pixels; i++) {
		let v = qkv[(image.pixel + i) * 3u * p.channels4 + 2u * p.channels4 + id.x];
		sum = fma(vec4f(scores[image.scores + id.y * image.pixels + i]), v, sum);
	}
	y[(image.pixel + image.first + id.y) * p.channels4 + id.x] = sum;
}`,
});

/**
 * One head of attention over the pixels of each image, softmax(q k^T / sqrt(channels)) v, for heads too wide for
 * registers: the scores go through memory, of as many queries at a time as `scores` holds.
 *
 * qkv: [pixels, 3 * channels] as q, k, v -> y: [pixels, channels]; `scores`: scratch of any size from those of one
 * query on, at best the squares of the images' pixels. Throws RangeError where it is smaller.
 */
export function pixelAttention(
	pass: Pass,
	op: { qkv: Tensor; y: Tensor; scores: Tensor; images: readonly ImageShape[]; channels: number; label: string },
): void {
	for (const squares of turns(op.images, op.scores.bytes / 4, op.label)) attend(pass, op, squares);
}

/** The queries of all images in as few turns as their scores have room. */
function turns(images: readonly ImageShape[], room: number, label: string): Square[][] {
	const all: Square[][] = [[]];
	let scores = 0;
	for (const { pixel, height, width } of images) {
		const pixels = height * width;
		if (pixels > room) throw new RangeError(`${label}: there is room for ${room} scores, and a query has ${pixels}`);
		for (let first = 0; first < pixels; ) {
			const queries = Math.min(pixels - first, Math.floor((room - scores) / pixels));
			if (queries === 0) {
				all.push([]);
				scores = 0;
				continue;
			}
			all[all.length - 1].push({ pixel, pixels, first, queries, scores });
			scores += queries * pixels;
			first += queries;
		}
	}
	return all;
}

function attend(
	pass: Pass,
	{ qkv, y, scores, channels, label }: { qkv: Tensor; y: Tensor; scores: Tensor; channels: number; label: string },
	squares: readonly Square[],
): void {
	const channels4 = channels / 4;
	const images = pass.rows(SQUARE, squares);
	const pixels = Math.max(...squares.map(({ pixels }) => pixels));
	const queries = Math.max(...squares.map(({ queries }) => queries));
	pass.run(scoring, {
		label: `${label}.scores`,
		params: { channels4, scale: channels ** -0.5 },
		bindings: { images, qkv, scores },
		groups: [groups(pixels), queries, squares.length],
	});
	pass.run(normalising, {
		label: `${label}.softmax`,
		bindings: { images, scores },
		groups: [groups(queries), 1, squares.length],
	});
	pass.run(mixing, {
		label: `${label}.mix`,
		params: { channels4 },
		bindings: { images, qkv, scores, y },
		groups: [groups(channels4), queries, squares.length],
	});
}
