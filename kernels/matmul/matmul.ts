import type { MatrixShape } from "../gpu/facts.ts";
import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { bucket, memo, pick, type Target } from "../gpu/variants.ts";
import { ROW, type RowTable } from "../tokens/rows.ts";
import { fits, matrixVariants } from "./matrix.ts";
import { type Whole, wholeLoads } from "./quantised.ts";
import { type MatmulVariant, matmulForms, matmulVariants, turnsOf } from "./variants.ts";

/** [k, n], n padded to a multiple of 4: `transposeWeight` of an official [n, k], or `wholeWords`. */
export interface Matrix extends Tensor {
	/** Its words are whole numbers. */
	whole?: Whole;
	/**
	 * The columns after those of this one, where a binding does not hold all; then the shape is [k, n] of this one's own.
	 */
	next?: Matrix;
}

export interface Matmul {
	/** [m, k] */
	x: Tensor;
	/** As f16, x is rounded to f16 too; sums stay f32. */
	weight: Matrix;
	/** [n] */
	bias?: Tensor;
	/** [m, n]. With `add` the product is added to it, else it is overwritten. */
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

export const GELU = `fn gelu(x: vec4f) -> vec4f {
	let u = 0.7978845608028654 * (x + 0.044715 * x * x * x);
	return 0.5 * x * (1.0 + tanh(clamp(u, vec4f(-15), vec4f(15))));
}`;

/**
 * y = x W + b, optionally through GELU (tanh form), or added to y with a per-channel gate. Each sum runs over k in
 * order, one fused multiply-add after the other, whatever the variant, so a row's bits do not depend on m or on how it
 * was tiled. With f16 weights of a shape that was measured to be faster so, subgroup matrices sum it in their own
 * order: for every m.
 */
export function matmul(pass: Pass, op: Matmul): void {
	const { x, weight, bias, y, m, k, n, gelu = false, add = false, gate, label } = op;
	if (k % 4 || n % 4) throw new RangeError(`${label}: k=${k} and n=${n} must be multiples of 4`);
	for (let part: Matrix | undefined = weight, first = 0; part; first += part.shape[1], part = part.next) {
		const columns = weight.next ? part.shape[1] : n;
		const half = part.dtype === "f16";
		// By the whole shape, so that parts are summed as the whole is.
		const variant = op.variant ?? pickMatmul(pass.gpu, m, k, n, half);
		const bindings = [x, part, y];
		if (bias) bindings.push(bias);
		if (gate) bindings.push(gate.table, gate.rows.tokenRow, gate.rows.table);
		if (part.whole) bindings.push(part.whole.scales);
		const form: Epilogue & Loads = {
			half,
			whole: part.whole && { bits: part.whole.bits, group: part.whole.group },
			bias: Boolean(bias),
			gelu,
			add,
			gate: Boolean(gate),
		};
		const params = [m, k / 4, columns / 4, (gate?.stride ?? 0) / 4, (gate?.at ?? 0) / 4, first / 4, n / 4, 0];
		pass.run(
			label,
			matmulCode(variant, turnsOf(variant, k / 4), pass.gpu.facts.matrix, form),
			params,
			bindings,
			matmulForms[variant.form].groups(variant, m, columns / 4),
		);
	}
}

/** How numbers are read, and what happens to a finished sum. */
interface Loads {
	half: boolean;
	whole?: Pick<Whole, "bits" | "group">;
}
interface Epilogue {
	bias: boolean;
	gelu: boolean;
	add: boolean;
	gate: boolean;
}

export const matmulKey = (m: number, k: number, n: number, half = false) =>
	`matmul ${half ? "f16 " : ""}${k}x${n} m${bucket(m)}`;
/** Which order of sums a weight's shape has. */
export const matmulOrderKey = (k: number, n: number) => `order matmul f16 ${k}x${n}`;
/** Those that may run: the plain ones, and for f16 weights those of another order. */
export const matmulChoices = (gpu: Target, half: boolean): readonly MatmulVariant[] =>
	half && gpu.facts.matrix && fits(gpu.facts.matrix) ? [...matmulVariants, ...matrixVariants] : matmulVariants;

/**
 * Untuned: tiles as tall as there are rows. Where four lanes are the whole machine (SwiftShader) every load is a loop
 * over the lanes, and quads, which share what they load by swaps, take less than half the time.
 */
export function pickMatmul(gpu: Target, m: number, k: number, n: number, half = false): MatmulVariant {
	const key = matmulKey(m, k, n, half);
	if (half && gpu.tuning[matmulOrderKey(k, n)] === "matrix")
		return pick(gpu, key, matrixVariants, m > 32 ? "matrix 64x64" : "matrix 16x64");
	const quads = gpu.facts.lanes === 4 && gpu.device.features.has("subgroups");
	const tall = m >= 17 ? 32 : m >= 9 ? 16 : m >= 5 ? 8 : 4;
	const fallback =
		quads && m > 2
			? `quad ${tall}x16`
			: gpu.facts.software && m >= 16
				? "tile 16x16"
				: `tile ${m >= 8 ? 8 : m >= 4 ? 4 : m >= 2 ? 2 : 1}x${n % 8 ? 4 : 8}`;
	return pick(gpu, key, matmulVariants, fallback);
}

const matmulCode = memo(
	(variant: MatmulVariant, turns: number, matrix: MatrixShape | undefined, form: Loads & Epilogue): string => {
		const { enable = "", code } = matmulForms[variant.form];
		return `${form.half ? "enable f16;\n" : ""}${enable}${matmulHead(form)}${code(variant, turns, matrix)}`;
	},
);

/**
 * Parameters, bindings and the finished sum; `loadX` reads four channels of a row, `loadW` four columns, by the
 * `scaleW` of the four rows it is of.
 */
function matmulHead({ half, whole, bias, gelu, add, gate }: Loads & Epilogue): string {
	let next = 4;
	const floats = `
@group(0) @binding(2) var<storage, read> w: array<${half ? "vec4h" : "vec4f"}>;
fn scaleW(k4: u32, column: u32) -> vec4f { return vec4f(1); }
fn loadW(row: u32, column: u32, scale: vec4f) -> vec4f { return ${half ? "vec4f(w[row * p.n4 + column])" : "w[row * p.n4 + column]"}; }`;
	return `
${ROW}
${gelu ? GELU : ""}
struct Params { m: u32, k4: u32, n4: u32, gateStride: u32, gateAt: u32, first4: u32, width4: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
${bias ? `@group(0) @binding(${next++}) var<storage, read> bias: array<vec4f>;` : ""}
${
	gate
		? `@group(0) @binding(${next++}) var<storage, read> gate: array<vec4f>;
@group(0) @binding(${next++}) var<storage, read> tokenRow: array<u32>;
@group(0) @binding(${next++}) var<storage, read> rows: array<Row>;`
		: ""
}
${whole ? wholeLoads(whole.bits, whole.group, next) : floats}
fn loadX(at: u32) -> vec4f { return ${half ? "vec4f(vec4h(x[at]))" : "x[at]"}; }
fn store(row: u32, column: u32, sum: vec4f) {
	if (row >= p.m || column >= p.n4) { return; }
	var value = sum;
	let to = p.first4 + column;
	${bias ? "value += bias[to];" : ""}
	${gelu ? "value = gelu(value);" : ""}
	${gate ? "value *= gate[rows[tokenRow[row]].cond * p.gateStride + p.gateAt + to];" : ""}
	y[row * p.width4 + to] ${add ? "+=" : "="} value;
}`;
}

/** Official [n, k] to [k, n padded to 4 with zeros]. */
export function transposeWeight(weight: Float32Array, n: number, k: number): Float32Array<ArrayBuffer> {
	const padded = Math.ceil(n / 4) * 4;
	const out = new Float32Array(k * padded);
	for (let row = 0; row < n; row++)
		for (let column = 0; column < k; column++) out[column * padded + row] = weight[row * k + column];
	return out;
}
