import { kernel, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { FLAT, flatGroups } from "../gpu/workgroups.ts";

/** Where a rectangle lies in a tensor: its first pixel, and how many pixels a row of the image there has. */
export interface Corner {
	pixel: number;
	stride: number;
}

const cropping = kernel({
	name: "crop",
	params: { channels4: "u32", height: "u32", width: "u32", x0: "u32", xStride: "u32", y0: "u32", yStride: "u32" },
	bindings: { x: read("vec4u"), y: write("vec4u") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i >= p.height * p.width * p.channels4) { return; }
	let c = i % p.channels4;
	let column = (i / p.channels4) % p.width;
	let row = i / p.channels4 / p.width;
	y[(p.y0 + row * p.yStride + column) * p.channels4 + c] = x[(p.x0 + row * p.xStride + column) * p.channels4 + c];
}`,
});

/**
 * Copies a rectangle of a channels-last image in x to a place of one in y, bit for bit. Channels are a multiple of 4.
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
	pass.run(cropping, {
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
