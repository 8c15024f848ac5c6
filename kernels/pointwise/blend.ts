import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { IMAGE, type ImageShape, imageTable, largest } from "../image/conv.ts";
import { groups } from "../tokens/rows.ts";

/**
 * y = (1 - share) * a + share * b over channels-last images that lie at the same pixels of all three; `add` adds to y.
 */
export function blend(
	pass: Pass,
	op: {
		a: Tensor;
		b: Tensor;
		share: number;
		y: Tensor;
		images: readonly ImageShape[];
		channels: number;
		add?: boolean;
		label: string;
	},
): void {
	const code = `
${IMAGE}
struct Params { channels4: u32, share: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4f>;
@group(0) @binding(2) var<storage, read> b: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(4) var<storage, read> images: array<Image>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let image = images[id.z];
	if (id.x >= image.height * image.width * p.channels4) { return; }
	let at = image.pixel * p.channels4 + id.x;
	y[at] ${op.add ? "+=" : "="} (1.0 - p.share) * a[at] + p.share * b[at];
}`;
	const { channels, images, share } = op;
	pass.run(
		op.label,
		code,
		[channels / 4, { f32: share }, 0, 0],
		[op.a, op.b, op.y, imageTable(pass, images)],
		[groups((largest(images) * channels) / 4), 1, images.length],
	);
}
