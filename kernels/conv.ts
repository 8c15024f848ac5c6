import type { Tensor } from "./gpu.ts";
import type { Pass } from "./pass.ts";
import { range } from "./tuning.ts";

/** A ragged batch of channels-last images: image i has [height * width, channels] at pixel `pixel` of its tensor. */
export interface ImageShape {
	pixel: number;
	height: number;
	width: number;
}
export const IMAGE = `struct Image { pixel: u32, height: u32, width: u32, pad: u32 }`;
export const imageTable = (pass: Pass, images: readonly ImageShape[]) => pass.table(images.flatMap(({ pixel, height, width }) => [pixel, height, width, 0]));
export const largest = (images: readonly ImageShape[]) => Math.max(...images.map(({ height, width }) => height * width));

/**
 * 3x3 convolution, stride 1, zero padding 1. `upsample` reads the input through a nearest x2 enlargement; `add` adds to y.
 * `images` are the output's; input images lie in the same order, a quarter of the pixels each when upsampling.
 * weight: `convWeight` of the official [out, in, 3, 3]. Channels are multiples of 4 (pad with zero weights).
 *
 * A 1x1 convolution is `matmul` over the pixels.
 */
export function conv3x3(
	pass: Pass,
	op: { x: Tensor; y: Tensor; weight: Tensor; bias: Tensor; images: readonly ImageShape[]; inChannels: number; outChannels: number; upsample?: boolean; add?: boolean; label: string },
): void {
	const { inChannels, outChannels, images, upsample = false, add = false } = op;
	if (inChannels % 4 || outChannels % 4) throw new RangeError(`${op.label}: ${inChannels} and ${outChannels} channels must be multiples of 4`);
	const columns = outChannels % 8 === 0 ? 2 : 1;
	const pixels = 4;
	const px = range(pixels);
	const c = range(columns);
	const code = `
${IMAGE}
struct Params { in4: u32, out4: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<storage, read> w: array<vec4f>;
@group(0) @binding(4) var<storage, read> bias: array<vec4f>;
@group(0) @binding(5) var<storage, read> images: array<Image>;
@compute @workgroup_size(8, 8) fn main(@builtin(global_invocation_id) id: vec3u) {
	let image = images[id.z];
	let runs = (image.width + ${pixels - 1}u) / ${pixels}u;
	if (id.y >= runs * image.height) { return; }
	let column = id.x * ${columns}u;
	if (column >= p.out4) { return; }
	let row = i32(id.y / runs);
	let left = i32(id.y % runs) * ${pixels};
	let height = i32(image.height);
	let width = i32(image.width);
	let source = ${upsample ? "image.pixel / 4u" : "image.pixel"};
	${px.flatMap((i) => c.map((j) => `var s${i}_${j} = bias[column + ${j}u];`)).join(" ")}
	for (var ky = 0; ky < 3; ky++) {
		let sy = row + ky - 1;
		if (sy < 0 || sy >= height) { continue; }
		let line = source + u32(${upsample ? "(sy / 2) * (width / 2)" : "sy * width"});
		${range(pixels + 2).map((i) => `let sx${i} = left + ${i - 1}; let on${i} = select(0.0, 1.0, sx${i} >= 0 && sx${i} < width); let at${i} = (line + u32(clamp(sx${i}, 0, width - 1)${upsample ? " / 2" : ""})) * p.in4;`).join("\n\t\t")}
		for (var k = 0u; k < p.in4; k++) {
			${range(pixels + 2).map((i) => `let a${i} = x[at${i} + k] * on${i};`).join(" ")}
			${range(3).flatMap((kx) => range(4).map((q) => `
			${c.map((j) => `let w${kx}${q}_${j} = w[((u32(ky) * 3u + ${kx}u) * p.in4 * 4u + k * 4u + ${q}u) * p.out4 + column + ${j}u];`).join(" ")}
			${px.flatMap((i) => c.map((j) => `s${i}_${j} = fma(vec4f(a${i + kx}[${q}]), w${kx}${q}_${j}, s${i}_${j});`)).join(" ")}`)).join("")}
		}
	}
	let out = (image.pixel + u32(row * width + left)) * p.out4 + column;
	${px.flatMap((i) => c.map((j) => `if (left + ${i} < width) { y[out + ${i}u * p.out4 + ${j}u] ${add ? "+=" : "="} s${i}_${j}; }`)).join("\n\t")}
}`;
	const runs = Math.max(...images.map(({ height, width }) => height * Math.ceil(width / pixels)));
	pass.run(op.label, code, [inChannels / 4, outChannels / 4, 0, 0], [op.x, op.y, op.weight, op.bias, imageTable(pass, images)], [
		Math.ceil(outChannels / 4 / columns / 8),
		Math.ceil(runs / 8),
		images.length,
	]);
}

/** Official [out, in, 3, 3] to [3, 3, in padded, out padded], zeros in the padding. */
export function convWeight(weight: Float32Array, out: number, input: number): Float32Array<ArrayBuffer> {
	const outPadded = Math.ceil(out / 4) * 4;
	const inPadded = Math.ceil(input / 4) * 4;
	const packed = new Float32Array(9 * inPadded * outPadded);
	for (let o = 0; o < out; o++) {
		for (let i = 0; i < input; i++) {
			for (let tap = 0; tap < 9; tap++) packed[(tap * inPadded + i) * outPadded + o] = weight[(o * input + i) * 9 + tap];
		}
	}
	return packed;
}
