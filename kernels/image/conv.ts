import { kernel, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import { addProducts, swapped } from "../gpu/quad.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { bucket, inQuads, range, TRIAL_OUTPUTS, type Tunable, type Variant } from "../gpu/variants.ts";
import { dispatchable } from "../gpu/workgroups.ts";
import { IMAGE, type ImageShape, largest } from "./images.ts";

/** [3, 3, in, out], or as many output channels as a binding holds: then its shape is of these, others are `next`. */
export interface ConvWeight extends Tensor {
	next?: ConvWeight;
}

export interface Conv {
	x: Tensor;
	y: Tensor;
	/** `convWeight` of the official [out, in, 3, 3]. As f16, x is rounded to f16 too; sums stay f32. */
	weight: ConvWeight;
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
 * Runs of `width` pixels of an image row by `columns` channels: of an invocation, or (quad) four runs of four lanes
 * that share them.
 */
interface ConvVariant extends Variant {
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

interface Options extends Tile {
	quad: boolean;
	/** Pixels of a run. */
	width: number;
}

/** What a workgroup has of the output. */
interface Tile {
	/** vec4s of output channels of an invocation. */
	columns: number;
	/** Invocations by columns and runs: none idles where channels are few. */
	blockX: number;
	blockY: number;
}

const convolving = kernel({
	name: "conv 3x3",
	// `up`: input sides are shorter by a factor of 2 ** up.
	params: { in4: "u32", out4: "u32", first4: "u32", width4: "u32", up: "u32", add: "u32" },
	bindings: { x: read("vec4f"), y: write("vec4f"), w: read("vec4"), bias: read("vec4f"), images: read(IMAGE) },
	enable: ({ quad }: Options) => (quad ? ["subgroups"] : []),
	code: (options: Options, { w }) => convCode(options, w === "f16"),
});

/**
 * 3x3 convolution, stride 1, zero padding 1; `add` adds to y. Channels are multiples of 4 (pad with zero weights).
 * A sum starts from the bias and runs over kernel rows, channels by four, kernel columns, channels, whatever the
 * variant.
 *
 * A 1x1 convolution is `matmul` over the pixels.
 */
export function conv3x3(pass: Pass, op: Conv): void {
	const { x, y, weight, bias, images, inChannels, outChannels, upsample = false, add = false, label } = op;
	if (inChannels % 4 || outChannels % 4)
		throw new RangeError(`${label}: ${inChannels} and ${outChannels} channels must be multiples of 4`);
	const variant = op.variant ?? pass.gpu.choice(convTunable, { ...largest(images), inChannels, outChannels });
	const { quad, width } = variant;
	const table = pass.rows(IMAGE, images);
	for (let part: ConvWeight | undefined = weight, first = 0; part; first += channelsOf(part), part = part.next) {
		const own = weight.next ? channelsOf(part) : outChannels;
		const { columns, blockX, blockY } = tileOf(variant, own);
		pass.run(convolving, {
			label,
			options: { quad, width, columns, blockX, blockY },
			params: {
				in4: inChannels / 4,
				out4: own / 4,
				first4: first / 4,
				width4: outChannels / 4,
				up: upsample ? 1 : 0,
				add: add ? 1 : 0,
			},
			bindings: { x, y, w: part, bias, images: table },
			groups: groupsOf(variant, images, own),
		});
	}
}

const channelsOf = ({ shape }: ConvWeight): number => shape[shape.length - 1];

function groupsOf(variant: ConvVariant, images: readonly Sides[], outChannels: number): [number, number, number] {
	const { across, blockX, blockY } = tileOf(variant, outChannels);
	const runs = Math.max(...images.map(({ height, width }) => height * Math.ceil(width / variant.width)));
	return [Math.ceil(across / blockX), Math.ceil(runs / blockY), images.length];
}

/** `across`: tiles that cover the output channels. */
function tileOf(variant: ConvVariant, outChannels: number): Tile & { across: number } {
	const { quad } = variant;
	const columns = Math.min(variant.columns, quad ? variant.columns : outChannels % 8 ? 4 : 8) / (quad ? 16 : 4);
	const across = Math.ceil(outChannels / 4 / columns);
	if (quad) return { columns, across, blockX: 4, blockY: 4 };
	const blockX = [8, 4, 2].find((size) => across >= size) ?? 1;
	return { columns, across, blockX, blockY: 64 / blockX };
}

/** Of an output. */
interface Sides {
	height: number;
	width: number;
}

/** One image: its output's sides; the input's are half as long with `upsample`. */
export interface ConvShape extends Sides {
	inChannels: number;
	outChannels: number;
	upsample?: boolean;
}

export const convTunable: Tunable<ConvShape, ConvVariant> = {
	key: ({ height, width, inChannels, outChannels }) => `conv ${inChannels}x${outChannels} p${bucket(height * width)}`,
	variants: convVariants,
	fits: (gpu, variant, { outChannels, ...sides }) => dispatchable(gpu, groupsOf(variant, [sides], outChannels)),
	/**
	 * As matmul, quads where four lanes are the whole machine, but for too few channels for four lanes to share: there
	 * shorter runs than on other CPUs, whose programs compile in half the time. Short ones for the first previews, too,
	 * which are no longer.
	 */
	untuned(gpu, { width, outChannels }) {
		if (inQuads(gpu)) return outChannels < 16 ? "tile 8x8" : width <= 4 ? "quad 2x16" : "quad 8x16";
		return gpu.facts.software ? "tile 16x4" : "tile 4x8";
	},
	trial({ inChannels, outChannels, upsample, ...sides }) {
		const { height, width } = trialSides(sides, outChannels);
		const pixels = height * width;
		const images = [{ pixel: 0, height, width }];
		return {
			name: `conv ${inChannels}>${outChannels} ${height}x${width}${upsample ? " x2" : ""}`,
			flops: 18 * pixels * inChannels * outChannels,
			inputs: [
				{ size: (pixels * inChannels) / (upsample ? 4 : 1) },
				{ size: 9 * inChannels * outChannels },
				{ size: outChannels },
			],
			outputs: pixels * outChannels,
			row: outChannels,
			record: (pass, [x, weight, bias], y, variant) =>
				conv3x3(pass, { x, weight, bias, y, images, inChannels, outChannels, upsample, label: "tune conv", variant }),
		};
	},
};

/** Halved until a trial has few enough outputs; even, for those that are enlarged. */
function trialSides({ height, width }: Sides, outChannels: number): Sides {
	while (height * width * outChannels > TRIAL_OUTPUTS)
		[height, width] = [height, width].map((side) => 2 * Math.ceil(side / 4));
	return { height, width };
}

/** The weights of a step, in the order they are summed in: columns of the kernel, and channels of a vec4. */
const TAPS = range(3).flatMap((kx) => range(4).map((q) => ({ kx, q, name: `w${kx}_${q}` })));

function convCode({ quad, width, columns, blockX, blockY }: Options, half: boolean): string {
	const px = range(width);
	const c = range(columns);
	const rotations = range(quad ? 4 : 1);
	const sums = px.flatMap((i) => c.flatMap((j) => rotations.map((s) => ({ i, j, s, name: `s${i}_${j}_${s}` }))));
	const load = ({ kx, q, name }: (typeof TAPS)[number], j: number) =>
		`let ${name}_${j}_0 = loadW(weights + (${kx}u * p.in4 * 4u + ${q}u) * p.out4 + c${j});`;
	const add = ({ i, j, name }: (typeof sums)[number], { kx, q, name: w }: (typeof TAPS)[number]) =>
		`${name} = fma(vec4f(a${i + kx}[${q}]), ${w}_${j}_0, ${name});`;
	const multiply = (tap: (typeof TAPS)[number]) => `{
			${c.map((j) => load(tap, j)).join(" ")}
			${sums.map((sum) => add(sum, tap)).join(" ")} }`;
	const multiplyQuads = (j: number) =>
		[
			...TAPS.map((tap) => `${load(tap, j)} ${swapped(`${tap.name}_${j}`)}`),
			...rotations.map((s) =>
				addProducts(
					px.map((i) => ({ name: `s${i}_${j}_${s}`, by: (n) => `a${i + TAPS[n].kx}[${TAPS[n].q}]` })),
					TAPS.map(({ name }) => `${name}_${j}_${s}`),
				),
			),
		].join("\n\t\t\t");
	return `
fn loadX(at: u32) -> vec4f { return ${half ? "vec4f(vec4h(x[at]))" : "x[at]"}; }
fn loadW(at: u32) -> vec4f { return ${half ? "vec4f(w[at])" : "w[at]"}; }
${
	quad
		? `@compute @workgroup_size(4)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(subgroup_invocation_id) invocation: u32) {
	let lane = invocation & 3u;
	let run = id.y * 4u + lane;
	let first = id.x * ${4 * columns}u;
	${c.map((j) => `let c${j} = min(first + ${4 * j}u + lane, p.out4 - 1u);`).join(" ")}`
		: `@compute @workgroup_size(${blockX}, ${blockY}) fn main(@builtin(global_invocation_id) id: vec3u) {
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
	let source = image.pixel >> (2u * p.up);
	${
		quad
			? c.map((j) => `let i${j}_0 = bias[p.first4 + c${j}]; ${swapped(`i${j}`)}`).join("\n\t")
			: `if (!inside || first >= p.out4) { return; }
	${c.map((j) => `let i${j}_0 = bias[p.first4 + c${j}];`).join(" ")}`
	}
	${sums.map(({ j, s, name }) => `var ${name} = i${j}_${s};`).join(" ")}
	for (var ky = 0; ky < 3; ky++) {
		let sy = row + ky - 1;
		let near = clamp(sy, 0, height - 1);
		let line = source + u32((near >> p.up) * (width >> p.up));
		${range(width + 2)
			.map(column)
			.join("\n\t\t")}
		for (var k = 0u; k < p.in4; k++) {
			let weights = (u32(ky) * 3u * p.in4 + k) * 4u * p.out4;
			${range(width + 2)
				.map((i) => `let a${i} = loadX(at${i} + k) * on${i};`)
				.join(" ")}
			${quad ? c.map(multiplyQuads).join("\n\t\t\t") : TAPS.map(multiply).join("")}
		}
	}
	let out = (image.pixel + u32(row * width + left)) * p.width4 + p.first4 + first;
	// A loop, so that the store is compiled once.
	var sums = array<vec4f, ${sums.length}>(${sums.map(({ name }) => name).join(", ")});
	for (var i = 0u; i < ${sums.length}u; i++) {
		let pixel = i / ${rotations.length * columns}u;
		let column = ${quad ? `(i / 4u) % ${columns}u * 4u + (lane ^ (i & 3u))` : `i % ${columns}u`};
		if (inside && left + i32(pixel) < width && first + column < p.out4) {
			let at = out + pixel * p.width4 + column;
			var sum = sums[i];
			if (p.add != 0) { sum += y[at]; }
			y[at] = sum;
		}
	}
}`;
}

/** WGSL of the i-th column of inputs that a run of outputs reads: where it is, and 0 where that is padding. */
const column = (i: number): string =>
	[
		`let sx${i} = left + ${i - 1};`,
		`let on${i} = select(0.0, 1.0, (sy >= 0) & (sy < height) & (sx${i} >= 0) & (sx${i} < width));`,
		`let at${i} = (line + u32(clamp(sx${i}, 0, width - 1) >> p.up)) * p.in4;`,
	].join(" ");

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
