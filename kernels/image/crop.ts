import { kernel, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { FLAT, flatGroups } from "../gpu/workgroups.ts";

/** Where a rectangle lies in a tensor: its first pixel, and how many pixels a row of the image there has. */
export interface Corner {
	pixel: number;
	stride: number;
	/** The image is of f16, two numbers in a word. */
	packed?: boolean;
}

/** The largest number of f16. */
const MOST = "65504.0";

type Words = "vec2u" | "vec4u" | "vec4f";

/** `copied`: four numbers as they are read, in the form that they are written in. */
const copying = (name: string, [from, to]: [Words, Words], copied: (read: string) => string) =>
	kernel({
		name,
		params: { channels4: "u32", height: "u32", width: "u32", x0: "u32", xStride: "u32", y0: "u32", yStride: "u32" },
		bindings: { x: read(from), y: write(to) },
		code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i >= p.height * p.width * p.channels4) { return; }
	let c = i % p.channels4;
	let column = (i / p.channels4) % p.width;
	let row = i / p.channels4 / p.width;
	let v = x[(p.x0 + row * p.xStride + column) * p.channels4 + c];
	y[(p.y0 + row * p.yStride + column) * p.channels4 + c] = ${copied("v")};
}`,
	});

const bits = copying("crop", ["vec4u", "vec4u"], (v) => v);
const packing = copying("crop to f16", ["vec4f", "vec2u"], (v) => {
	const held = `clamp(${v}, vec4f(-${MOST}), vec4f(${MOST}))`;
	return `vec2u(pack2x16float(${held}.xy), pack2x16float(${held}.zw))`;
});
const unpacking = copying(
	"crop of f16",
	["vec2u", "vec4f"],
	(v) => `vec4f(unpack2x16float(${v}.x), unpack2x16float(${v}.y))`,
);

/**
 * Copies a rectangle of a channels-last image in x to a place of one in y: bit for bit, but for what is packed on the
 * way, where numbers beyond the range of f16 become the largest there. One of the two is not packed. Channels are a
 * multiple of 4.
 */
export function crop(
	pass: Pass,
	op: {
		x: Tensor;
		from: Corner;
		y: Tensor;
		to: Corner;
		height: number;
		width: number;
		channels: number;
		label: string;
	},
): void {
	const { x, from, y, to, height, width, channels, label } = op;
	const same = Boolean(from.packed) === Boolean(to.packed);
	if (same && from.packed) throw new RangeError("An image of f16 is not copied to another.");
	pass.run(same ? bits : to.packed ? packing : unpacking, {
		label,
		params: {
			channels4: channels / 4,
			height,
			width,
			x0: from.pixel,
			xStride: from.stride,
			y0: to.pixel,
			yStride: to.stride,
		},
		bindings: { x, y },
		groups: flatGroups((height * width * channels) / 4),
	});
}
