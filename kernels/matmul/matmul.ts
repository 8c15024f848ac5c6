import { kernel, optional, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { bucket, inQuads, TRIAL_OUTPUTS, type Tunable } from "../gpu/variants.ts";
import { boundWhole, byWindows } from "../gpu/windows.ts";
import { dispatchable } from "../gpu/workgroups.ts";
import { GELU } from "../pointwise/activation.ts";
import { ROW, type RowTable, rowsAfter } from "../tokens/rows.ts";
import type { BuiltFor, Form, MatmulVariant } from "./form.ts";
import { matrices, matrixFits, matrixVariants } from "./matrix.ts";
import { type Quantised, quantisedLoads } from "./quantised.ts";
import { matmulVariants, quads, SLAB, sharedMemory, tiled } from "./variants.ts";

/** [k, n], both padded to multiples of 4: `transposeWeight` of an official [n, k], or `quantisedWords`. */
export interface Matrix extends Tensor {
	/** Its words are whole numbers. */
	quantised?: Quantised;
	/**
	 * The columns after those of this one, where a binding does not hold all; then the shape is [k, n] of this one's own.
	 */
	next?: Matrix;
}

export interface Matmul {
	/** [m, k], of any length. */
	x: Tensor;
	/** As f16, x is rounded to f16 too; sums stay f32. */
	weight: Matrix;
	/** [n] */
	bias?: Tensor;
	/** [m, n], of any length. With `add` the product is added to it, else it is overwritten. */
	y: Tensor;
	m: number;
	k: number;
	n: number;
	gelu?: boolean;
	/** y += gate * (x W + b) instead of y = x W + b; without `gate` the gate is 1. */
	add?: boolean;
	/** [conds, stride] with the gate vector at `at`, by the condition of each token's row. */
	gate?: { table: Tensor; stride: number; at: number; rows: RowTable };
	label: string;
	/** For tuning and tests; by default the one chosen for this adapter and shape. */
	variant?: MatmulVariant;
}

const FORMS: Record<MatmulVariant["form"], Form> = {
	tile: tiled,
	quad: quads,
	shared: sharedMemory,
	matrix: matrices,
};

interface Options extends BuiltFor {
	variant: MatmulVariant;
	/** Of a quantised weight. */
	bits: Quantised["bits"] | undefined;
	group: number | undefined;
	gelu: boolean;
}

/**
 * The finished sum around a form's sums; `loadX` reads four channels of a row, `loadW` four columns, by the `scaleW` of
 * the four rows it is of.
 */
const multiplying = kernel({
	name: "matmul",
	params: {
		m: "u32",
		k4: "u32",
		n4: "u32",
		gateStride4: "u32",
		gateAt4: "u32",
		first4: "u32",
		width4: "u32",
		token: "u32?",
		add: "u32",
	},
	bindings: {
		x: read("vec4f"),
		w: optional(read("vec4")),
		words: optional(read("u32")),
		scales: optional(read("vec4f")),
		y: write("vec4f"),
		bias: optional(read("vec4f")),
		gate: optional(read("vec4f")),
		tokenRow: optional(read("u32")),
		rows: optional(read(ROW)),
	},
	enable: ({ variant }: Options) => FORMS[variant.form].enable ?? [],
	code: ({ variant, slab, matrix, bits, group, gelu }: Options, { w, bias, gate }) => `
${gelu ? GELU : ""}
${bits && group ? quantisedLoads(bits, group) : floatLoads(w === "f16")}
fn loadX(at: u32) -> vec4f { return ${w === "f16" ? "vec4f(vec4h(x[at]))" : "x[at]"}; }
fn store(row: u32, column: u32, sum: vec4f) {
	if (row >= p.m || column >= p.n4) { return; }
	var value = sum;
	let to = p.first4 + column;
	${bias ? "value += bias[to];" : ""}
	${gelu ? "value = gelu(value);" : ""}
	${gate ? "value *= gate[rows[tokenRow[p.token + row]].cond * p.gateStride4 + p.gateAt4 + to];" : ""}
	let at = row * p.width4 + to;
	if (p.add != 0) { value += y[at]; }
	y[at] = value;
}
${FORMS[variant.form].code(variant, { slab, matrix })}`,
});

const floatLoads = (half: boolean) => `fn scaleW(k4: u32, column: u32) -> vec4f { return vec4f(1); }
fn loadW(row: u32, column: u32, scale: vec4f) -> vec4f {
	return ${half ? "vec4f(w[row * p.n4 + column])" : "w[row * p.n4 + column]"};
}`;

/**
 * y = x W + b, optionally through GELU (tanh form), or added to y with a per-channel gate. Each sum runs over k in
 * order, one fused multiply-add after the other, whatever the variant, so a row's bits do not depend on m or on how it
 * was tiled. With f16 weights of a shape that was measured to be faster so, subgroup matrices sum it in their own
 * order: for every m.
 */
export function matmul(pass: Pass, op: Matmul): void {
	const { x, y, m, k, n, gate, label } = op;
	if (boundWhole(pass.gpu, x, y)) multiply(pass, op);
	else
		byWindows(
			pass.gpu,
			{ first: 0, count: m },
			[
				[x, k],
				[y, n],
			],
			label,
			([x, y], { first, count }) =>
				multiply(pass, { ...op, x, y, m: count, gate: gate && { ...gate, rows: rowsAfter(gate.rows, first, count) } }),
		);
}

function multiply(pass: Pass, op: Matmul): void {
	const { x, weight, bias, y, m, k, n, gelu = false, add = false, gate, label } = op;
	if (k % 4 || n % 4) throw new RangeError(`${label}: k=${k} and n=${n} must be multiples of 4`);
	for (let part: Matrix | undefined = weight, first = 0; part; first += part.shape[1], part = part.next) {
		const columns = weight.next ? part.shape[1] : n;
		// By the whole shape, so that parts are summed as the whole is.
		const variant = op.variant ?? pass.gpu.choice(matmulTunable, { m, k, n, half: part.dtype === "f16" });
		const { quantised } = part;
		pass.run(multiplying, {
			label,
			options: {
				variant,
				slab: variant.form === "shared" && k % (4 * SLAB) === 0 ? SLAB : 1,
				matrix: variant.form === "matrix" ? pass.gpu.facts.matrix : undefined,
				bits: quantised?.bits,
				group: quantised?.group,
				gelu,
			},
			params: {
				m,
				k4: k / 4,
				n4: columns / 4,
				gateStride4: gate ? gate.stride / 4 : 0,
				gateAt4: gate ? gate.at / 4 : 0,
				first4: first / 4,
				width4: n / 4,
				token: gate?.rows.from,
				add: add ? 1 : 0,
			},
			bindings: {
				x,
				w: quantised ? undefined : part,
				words: quantised ? part : undefined,
				scales: quantised?.scales,
				y,
				bias,
				gate: gate?.table,
				tokenRow: gate?.rows.tokenRow,
				rows: gate?.rows.table,
			},
			groups: FORMS[variant.form].groups(variant, m, columns / 4),
		});
	}
}

/** x [m, k] times a weight [k, n]. */
export interface MatmulShape {
	m: number;
	k: number;
	n: number;
	/** The weight is f16. */
	half?: boolean;
}

export const matmulTunable: Tunable<MatmulShape, MatmulVariant> = {
	key: ({ m, k, n, half }) => `matmul ${half ? "f16 " : ""}${k}x${n} m${bucket(m)}`,
	orderKey: ({ k, n, half }) => (half ? `order matmul f16 ${k}x${n}` : undefined),
	variants: [...matmulVariants, ...matrixVariants],
	fits(gpu, variant, { m, n, half = false }) {
		const { matrix } = gpu.facts;
		if (variant.form === "matrix" && !(half && matrix !== undefined && matrixFits(matrix))) return false;
		return dispatchable(gpu, FORMS[variant.form].groups(variant, m, Math.ceil(n / 4)));
	},
	/**
	 * Tiles as tall as there are rows. Where four lanes are the whole machine (SwiftShader) every load is a branch and a
	 * load a lane, and quads, which share what they load by swaps, take less than half the time; taller ones than 16 load
	 * less, but the code of their loops (37 KB, of 16 rows 21) is more than a cache of instructions holds.
	 */
	untuned(gpu, { m, n }, order) {
		const { facts } = gpu;
		if (order === "matrix") return m > 32 ? "matrix 64x64" : "matrix 16x64";
		const most = 16 * gpu.device.limits.maxComputeWorkgroupsPerDimension;
		const tall = m > most ? 32 : m >= 9 ? 16 : m >= 5 ? 8 : 4;
		if (inQuads(gpu) && m > 2) return `quad ${tall}x16`;
		// Faster than larger ones on llvmpipe, and one program for nearly all.
		if (facts.late) return `tile ${m >= 4 ? 8 : m >= 2 ? 2 : 1}x${n % 8 ? 4 : 8}`;
		if (facts.software && m >= 16) return "tile 16x16";
		return `tile ${m >= 8 ? 8 : m >= 4 ? 4 : m >= 2 ? 2 : 1}x${n % 8 ? 4 : 8}`;
	},
	trial({ k, n, half, ...shape }) {
		const m = Math.min(shape.m, Math.max(64, Math.floor(TRIAL_OUTPUTS / n)));
		return {
			name: `matmul ${half ? "f16 " : ""}${m}x${k}x${n}`,
			flops: 2 * m * k * n,
			inputs: [{ size: m * k }, { size: k * n, dtype: half ? "f16" : undefined }],
			outputs: m * n,
			row: n,
			record: (pass, [x, weight], y, variant) => matmul(pass, { x, weight, y, m, k, n, label: "tune matmul", variant }),
		};
	},
};
