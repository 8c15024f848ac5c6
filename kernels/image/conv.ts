import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { bucket, memo, pick, range, type Target, type Variant } from "../gpu/variants.ts";

/** A ragged batch of channels-last images: image i has [height * width, channels] at pixel `pixel` of its tensor. */
export interface ImageShape {
	pixel: number;
	height: number;
	width: number;
}
export const IMAGE = `struct Image { pixel: u32, height: u32, width: u32, pad: u32 }`;
export const imageTable = (pass: Pass, images: readonly ImageShape[]) =>
	pass.table(images.flatMap(({ pixel, height, width }) => [pixel, height, width, 0]));
export const largest = (images: readonly ImageShape[]) =>
	Math.max(...images.map(({ height, width }) => height * width));

export interface Conv {
	x: Tensor;
	y: Tensor;
	/** `convWeight` of the official [out, in, 3, 3]. As f16, x is rounded to f16 too; sums stay f32. */
	weight: Tensor;
	bias: Tensor;
	/** The output's. Input images lie in the same order, a quarter of the pixels each when upsampling. */
	images: readonly ImageShape[];
	inChannels: number;
	outChannels: number;
	/** Reads the input through a nearest x2 enlargement. */
	upsample?: boolean;
	add?: boolean;
	label: string;
	/** For tuning and tests; by default the one chosen for this adapter and shape. */
	variant?: ConvVariant;
}

/**
 * 3x3 convolution, stride 1, zero padding 1; `add` adds to y. Channels are multiples of 4 (pad with zero weights).
 * A sum starts from the bias and runs over kernel rows, channels by four, kernel columns, channels, whatever the
 * variant.
 *
 * A 1x1 convolution is `matmul` over the pixels.
 */
export function conv3x3(pass: Pass, op: Conv): void {
	const { inChannels, outChannels, images, weight } = op;
	if (inChannels % 4 || outChannels % 4)
		throw new RangeError(`${op.label}: ${inChannels} and ${outChannels} channels must be multiples of 4`);
	const variant = op.variant ?? pickConv(pass.gpu, images, inChannels, outChannels);
	const half = weight.dtype === "f16";
	const { width, quad } = variant;
	const columns = Math.min(variant.columns, quad ? variant.columns : outChannels % 8 ? 4 : 8) / (quad ? 16 : 4);
	const across = Math.ceil(outChannels / 4 / columns);
	const block: [number, number] = quad
		? [4, 4]
		: across >= 8
			? [8, 8]
			: across >= 4
				? [4, 16]
				: across >= 2
					? [2, 32]
					: [1, 64];
	const runs = Math.max(...images.map((image) => image.height * Math.ceil(image.width / width)));
	const code = convCode({ width, columns, block, quad, half, upsample: op.upsample ?? false, add: op.add ?? false });
	pass.run(
		op.label,
		code,
		[inChannels / 4, outChannels / 4, 0, 0],
		[op.x, op.y, weight, op.bias, imageTable(pass, images)],
		[Math.ceil(across / block[0]), Math.ceil(runs / block[1]), images.length],
	);
}

/**
 * Runs of `width` pixels of an image row by `columns` channels: of an invocation, or (quad) four runs of four lanes
 * that share them.
 */
export interface ConvVariant extends Variant {
	quad: boolean;
	width: number;
	columns: number;
}
const tile = (width: number, columns: number): ConvVariant => ({
	name: `tile ${width}x${columns}`,
	quad: false,
	width,
	columns,
});
const quad = (width: number, columns: number): ConvVariant => ({
	name: `quad ${width}x${columns}`,
	quad: true,
	width,
	columns,
	needs: ["subgroups"],
});
/** The plainest first: what the tuner checks the others against. */
export const convVariants: readonly ConvVariant[] = [
	tile(4, 8),
	tile(2, 8),
	tile(8, 8),
	tile(4, 4),
	tile(16, 4),
	tile(32, 4),
	quad(2, 16),
	quad(4, 16),
	quad(8, 16),
	quad(4, 32),
];

export const convKey = (images: readonly ImageShape[], input: number, output: number) =>
	`conv ${input}x${output} p${bucket(largest(images))}`;

/**
 * Untuned: as matmul, quads where four lanes are the whole machine; long runs on other CPUs, and with too few channels
 * for four lanes to share.
 */
export function pickConv(gpu: Target, images: readonly ImageShape[], input: number, output: number): ConvVariant {
	const quads = gpu.facts.lanes === 4 && gpu.device.features.has("subgroups");
	return pick(
		gpu,
		convKey(images, input, output),
		convVariants,
		quads && output >= 16 ? "quad 8x16" : gpu.facts.software ? "tile 16x4" : "tile 4x8",
	);
}

interface Form {
	width: number;
	/** vec4s of output channels of an invocation. */
	columns: number;
	/** Tiles of a workgroup, by columns and runs: no invocation idles where channels are few. */
	block: [number, number];
	quad: boolean;
	half: boolean;
	upsample: boolean;
	add: boolean;
}

const convCode = memo(({ width, columns, block, quad, half, upsample, add }: Form): string => {
	const px = range(width);
	const c = range(columns);
	const rotations = range(quad ? 4 : 1);
	const swaps = ["", "quadSwapX", "quadSwapY", "quadSwapDiagonal"];
	const sums = px.flatMap((i) => c.flatMap((j) => rotations.map((s) => ({ i, j, s, name: `s${i}_${j}_${s}` }))));
	return `${half ? "enable f16;\n" : ""}${quad ? "enable subgroups;\n" : ""}
${IMAGE}
struct Params { in4: u32, out4: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<storage, read> w: array<${half ? "vec4h" : "vec4f"}>;
@group(0) @binding(4) var<storage, read> bias: array<vec4f>;
@group(0) @binding(5) var<storage, read> images: array<Image>;
fn loadX(at: u32) -> vec4f { return ${half ? "vec4f(vec4h(x[at]))" : "x[at]"}; }
fn loadW(at: u32) -> vec4f { return ${half ? "vec4f(w[at])" : "w[at]"}; }
${
	quad
		? `@compute @workgroup_size(4) fn main(@builtin(workgroup_id) id: vec3u, @builtin(subgroup_invocation_id) invocation: u32) {
	let lane = invocation & 3u;
	let run = id.y * 4u + lane;
	let first = id.x * ${4 * columns}u;
	${c.map((j) => `let c${j} = min(first + ${4 * j}u + lane, p.out4 - 1u);`).join(" ")}`
		: `@compute @workgroup_size(${block.join(", ")}) fn main(@builtin(global_invocation_id) id: vec3u) {
	let run = id.y;
	let first = id.x * ${columns}u;
	${c.map((j) => `let c${j} = min(first + ${j}u, p.out4 - 1u);`).join(" ")}`
}
	let image = images[id.z];
	let height = i32(image.height);
	let width = i32(image.width);
	let runs = (image.width + ${width - 1}u) / ${width}u;
	let inside = run < runs * image.height;
	let row = min(i32(run / runs), height - 1);
	let left = i32(run % runs) * ${width};
	let source = ${upsample ? "image.pixel / 4u" : "image.pixel"};
	${
		quad
			? c
					.map(
						(j) =>
							`let i${j}_0 = bias[c${j}]; let i${j}_1 = quadSwapX(i${j}_0); let i${j}_2 = quadSwapY(i${j}_0); let i${j}_3 = quadSwapDiagonal(i${j}_0);`,
					)
					.join("\n\t")
			: `if (!inside || first >= p.out4) { return; }
	${c.map((j) => `let i${j}_0 = bias[c${j}];`).join(" ")}`
	}
	${sums.map(({ j, s, name }) => `var ${name} = i${j}_${s};`).join(" ")}
	for (var ky = 0; ky < 3; ky++) {
		let sy = row + ky - 1;
		let line = source + u32(${upsample ? "(clamp(sy, 0, height - 1) / 2) * (width / 2)" : "clamp(sy, 0, height - 1) * width"});
		${range(width + 2)
			.map(
				(i) =>
					`let sx${i} = left + ${i - 1}; let on${i} = select(0.0, 1.0, (sy >= 0) & (sy < height) & (sx${i} >= 0) & (sx${i} < width)); let at${i} = (line + u32(clamp(sx${i}, 0, width - 1)${upsample ? " / 2" : ""})) * p.in4;`,
			)
			.join("\n\t\t")}
		for (var k = 0u; k < p.in4; k++) {
			${range(width + 2)
				.map((i) => `let a${i} = loadX(at${i} + k) * on${i};`)
				.join(" ")}
			${range(3)
				.flatMap((kx) =>
					range(4).map(
						(q) => `{
			let wAt = ((u32(ky) * 3u + ${kx}u) * p.in4 * 4u + k * 4u + ${q}u) * p.out4;
			${c
				.map(
					(j) =>
						`let w${j}_0 = loadW(wAt + c${j}); ${rotations
							.slice(1)
							.map((s) => `let w${j}_${s} = ${swaps[s]}(w${j}_0);`)
							.join(" ")}`,
				)
				.join(" ")}
			${sums.map(({ i, j, s, name }) => `${name} = fma(vec4f(a${i + kx}[${q}]), w${j}_${s}, ${name});`).join(" ")} }`,
					),
				)
				.join("")}
		}
	}
	let out = (image.pixel + u32(row * width + left)) * p.out4 + first;
	// A loop, so that the store is compiled once.
	var sums = array<vec4f, ${sums.length}>(${sums.map(({ name }) => name).join(", ")});
	for (var i = 0u; i < ${sums.length}u; i++) {
		let pixel = i / ${rotations.length * columns}u;
		let column = ${quad ? `(i / 4u) % ${columns}u * 4u + (lane ^ (i & 3u))` : `i % ${columns}u`};
		if (inside && left + i32(pixel) < width && first + column < p.out4) { y[out + pixel * p.out4 + column] ${add ? "+=" : "="} sums[i]; }
	}
}`;
});

/** Official [out, in, 3, 3] to [3, 3, in padded, out padded], zeros in the padding. */
export function convWeight(weight: Float32Array, out: number, input: number): Float32Array<ArrayBuffer> {
	const outPadded = Math.ceil(out / 4) * 4;
	const inPadded = Math.ceil(input / 4) * 4;
	const packed = new Float32Array(9 * inPadded * outPadded);
	for (let o = 0; o < out; o++) {
		for (let i = 0; i < input; i++) {
			for (let tap = 0; tap < 9; tap++)
				packed[(tap * inPadded + i) * outPadded + o] = weight[(o * input + i) * 9 + tap];
		}
	}
	return packed;
}
