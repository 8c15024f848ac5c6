import { kernel, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { boundWhole, byWindows } from "../gpu/windows.ts";
import { FLAT, flatGroups } from "../gpu/workgroups.ts";
import { IMAGE, type ImageShape, largest, pixelsOf } from "../image/images.ts";

const blending = kernel({
	name: "blend",
	params: { channels4: "u32", share: "f32" },
	bindings: { a: read("vec4f"), b: read("vec4f"), y: write("vec4f"), images: read(IMAGE) },
	code: ({ add }: { add: boolean }) => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let image = images[id.z];
	let i = ${FLAT};
	if (i >= image.height * image.width * p.channels4) { return; }
	let at = image.pixel * p.channels4 + i;
	y[at] ${add ? "+=" : "="} (1.0 - p.share) * a[at] + p.share * b[at];
}`,
});

interface Blend {
	/** Of any length. */
	a: Tensor;
	b: Tensor;
	share: number;
	y: Tensor;
	images: readonly ImageShape[];
	channels: number;
	add?: boolean;
	label: string;
}

/**
 * y = (1 - share) * a + share * b over channels-last images that lie at the same pixels of all three; `add` adds to y.
 */
export function blend(pass: Pass, op: Blend): void {
	const { a, b, y, images, channels, label } = op;
	if (boundWhole(pass.gpu, a, b, y)) mix(pass, op);
	else
		for (const image of images) {
			const rows = [
				[a, channels],
				[b, channels],
				[y, channels],
			] as const;
			byWindows(pass.gpu, { first: image.pixel, count: pixelsOf(image) }, rows, label, ([a, b, y], { at, count }) =>
				mix(pass, { ...op, a, b, y, images: [{ pixel: at, height: 1, width: count }] }),
			);
		}
}

function mix(pass: Pass, op: Blend): void {
	const { a, b, share, y, images, channels, add = false, label } = op;
	pass.run(blending, {
		label,
		options: { add },
		params: { channels4: channels / 4, share },
		bindings: { a, b, y, images: pass.rows(IMAGE, images) },
		groups: [...flatGroups((pixelsOf(largest(images)) * channels) / 4), images.length],
	});
}
