import { kernel, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { FLAT, flatGroups } from "../gpu/workgroups.ts";
import { IMAGE, type ImageShape, largest, pixelsOf } from "./images.ts";

interface Shuffle {
	x: Tensor;
	y: Tensor;
	/** Of tokens; the pixels of an image begin at `side`^2 times its first token. */
	images: readonly ImageShape[];
	/** Pixels of a token's side. */
	side: number;
	/** Channels that a pixel has, and floats it takes: those beyond are zero. */
	channels: number;
	stride: number;
	label: string;
}

const NAMES = {
	params: { side: "u32", channels: "u32", stride: "u32" },
	bindings: { x: read("f32"), y: write("f32"), images: read(IMAGE) },
} as const;

const shuffling = kernel({
	name: "pixel shuffle",
	...NAMES,
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let image = images[id.z];
	let i = ${FLAT};
	let pixel = i / p.stride;
	let channel = i % p.stride;
	let across = image.width * p.side;
	if (pixel >= image.height * p.side * across) { return; }
	let place = vec2u(pixel / across, pixel % across);
	let token = image.pixel + place.x / p.side * image.width + place.y / p.side;
	let feature = (channel * p.side + place.x % p.side) * p.side + place.y % p.side;
	let shown = channel < p.channels;
	let value = x[token * p.channels * p.side * p.side + select(0u, feature, shown)];
	y[image.pixel * p.side * p.side * p.stride + i] = select(0.0, value, shown);
}`,
});

const unshuffling = kernel({
	name: "pixel unshuffle",
	...NAMES,
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let image = images[id.z];
	let features = p.channels * p.side * p.side;
	let i = ${FLAT};
	let token = i / features;
	let feature = i % features;
	if (token >= image.height * image.width) { return; }
	let within = vec2u(feature / p.side % p.side, feature % p.side);
	let place = vec2u(token / image.width, token % image.width) * p.side + within;
	let pixel = image.pixel * p.side * p.side + place.x * image.width * p.side + place.y;
	y[image.pixel * features + i] = x[pixel * p.stride + feature / (p.side * p.side)];
}`,
});

/**
 * PyTorch's pixel_shuffle, channels last: tokens [height * width, channels * side^2] become pixels [side * height *
 * side * width, stride]; feature (c * side + dy) * side + dx of token (i, j) is channel c of pixel (side * i + dy, side
 * * j + dx).
 */
export function pixelShuffle(pass: Pass, { x, y, images, side, channels, stride, label }: Shuffle): void {
	pass.run(shuffling, {
		label,
		params: { side, channels, stride },
		bindings: { x, y, images: pass.rows(IMAGE, images) },
		groups: [...flatGroups(pixelsOf(largest(images)) * side * side * stride), images.length],
	});
}

/** The inverse: pixels to tokens, without what lies beyond the channels. */
export function pixelUnshuffle(pass: Pass, { x, y, images, side, channels, stride, label }: Shuffle): void {
	pass.run(unshuffling, {
		label,
		params: { side, channels, stride },
		bindings: { x, y, images: pass.rows(IMAGE, images) },
		groups: [...flatGroups(pixelsOf(largest(images)) * channels * side * side), images.length],
	});
}
