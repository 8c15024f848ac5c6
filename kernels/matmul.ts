import type { Pass, Tensor } from "./gpu.ts";
import { ROW, type RowTable } from "./rows.ts";

export interface Matmul {
	/** [m, k] */
	x: Tensor;
	/** [k, n], n padded to a multiple of 4: `transposeWeight` of an official [n, k]. */
	weight: Tensor;
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
}

export const GELU = `fn gelu(x: vec4f) -> vec4f {
	let u = 0.7978845608028654 * (x + 0.044715 * x * x * x);
	return 0.5 * x * (1.0 + tanh(clamp(u, vec4f(-15), vec4f(15))));
}`;

/**
 * y = x W + b, optionally through GELU (tanh form), or added to y with a per-channel gate. Register tiles of up to
 * 8 rows x 2 vec4 columns; each sum runs over k in order whatever the tile, so a row's result does not depend on m.
 */
export function matmul(pass: Pass, op: Matmul): void {
	const { x, weight, bias, y, m, k, n, gelu = false, add = false, gate, label } = op;
	if (k % 4 || n % 4) throw new RangeError(`${label}: k=${k} and n=${n} must be multiples of 4`);
	const rows = m >= 8 ? 8 : m >= 4 ? 4 : m >= 2 ? 2 : 1;
	const columns = n % 8 === 0 ? 2 : 1;
	const bindings = [x, weight, y];
	if (bias) bindings.push(bias);
	if (gate) bindings.push(gate.table, gate.rows.tokenRow, gate.rows.table);
	const code = matmulCode(rows, columns, Boolean(bias), gelu, add, Boolean(gate));
	pass.run(label, code, [m, k / 4, n / 4, (gate?.stride ?? 0) / 4, (gate?.at ?? 0) / 4, 0, 0, 0], bindings, [
		Math.ceil(n / 4 / columns / 8),
		Math.ceil(m / rows / 8),
	]);
}

function matmulCode(rows: number, columns: number, bias: boolean, gelu: boolean, add: boolean, gate: boolean): string {
	const r = range(rows);
	const c = range(columns);
	let next = 4;
	return `
${ROW}
${gelu ? GELU : ""}
struct Params { m: u32, k4: u32, n4: u32, gateStride: u32, gateAt: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> w: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
${bias ? `@group(0) @binding(${next++}) var<storage, read> bias: array<vec4f>;` : ""}
${gate ? `@group(0) @binding(${next++}) var<storage, read> gate: array<vec4f>;
@group(0) @binding(${next++}) var<storage, read> tokenRow: array<u32>;
@group(0) @binding(${next++}) var<storage, read> rows: array<Row>;` : ""}
fn store(row: u32, column: u32, sum: vec4f) {
	if (row >= p.m || column >= p.n4) { return; }
	var value = sum;
	${bias ? "value += bias[column];" : ""}
	${gelu ? "value = gelu(value);" : ""}
	${gate ? "value *= gate[rows[tokenRow[row]].cond * p.gateStride + p.gateAt + column];" : ""}
	y[row * p.n4 + column] ${add ? "+=" : "="} value;
}
@compute @workgroup_size(8, 8) fn main(@builtin(global_invocation_id) id: vec3u) {
	let column = id.x * ${columns}u;
	let row = id.y * ${rows}u;
	if (column >= p.n4 || row >= p.m) { return; }
	${r.map((i) => `let x${i} = min(row + ${i}u, p.m - 1u) * p.k4;`).join("\n\t")}
	${r.flatMap((i) => c.map((j) => `var s${i}_${j} = vec4f(0);`)).join(" ")}
	for (var k = 0u; k < p.k4; k++) {
		${r.map((i) => `let a${i} = x[x${i} + k];`).join(" ")}
		${range(4).map((q) => `
		${c.map((j) => `let b${q}_${j} = w[(k * 4u + ${q}u) * p.n4 + column + ${j}u];`).join(" ")}
		${r.flatMap((i) => c.map((j) => `s${i}_${j} = fma(vec4f(a${i}[${q}]), b${q}_${j}, s${i}_${j});`)).join(" ")}`).join("")}
	}
	${r.flatMap((i) => c.map((j) => `store(row + ${i}u, column + ${j}u, s${i}_${j});`)).join("\n\t")}
}`;
}

export const range = (count: number) => Array.from({ length: count }, (_, i) => i);

/** Official [n, k] to [k, n padded to 4 with zeros]. */
export function transposeWeight(weight: Float32Array, n: number, k: number): Float32Array<ArrayBuffer> {
	const padded = Math.ceil(n / 4) * 4;
	const out = new Float32Array(k * padded);
	for (let row = 0; row < n; row++) for (let column = 0; column < k; column++) out[column * padded + row] = weight[row * k + column];
	return out;
}
