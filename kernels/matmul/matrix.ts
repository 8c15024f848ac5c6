/**
 * Matmul on subgroup matrices (tensor cores): WGSL's chromium_experimental_subgroup_matrix, with f16 factors and f32
 * sums.
 */
import type { MatrixShape } from "../gpu/facts.ts";
import { range } from "../gpu/variants.ts";
import type { Form, MatmulVariant } from "./form.ts";

/** What a matrix variant's program is written for; a config of the adapter whose sides divide SIDE and K. */
const SIDE = 16;
/** Rows of W that are staged at a time. */
const SLAB = 32;
const matrix = (rows: number, columns: number): MatmulVariant => ({
	name: `matrix ${rows}x${columns}`,
	form: "matrix",
	rows,
	columns,
	order: "matrix",
	needs: ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix" as GPUFeatureName],
});
export const matrixVariants: readonly MatmulVariant[] = [
	matrix(16, 64),
	matrix(32, 64),
	matrix(64, 64),
	matrix(64, 128),
];

/** Whether the programs are written for such matrices. */
export const matrixFits = ({ m, n, k }: MatrixShape) => SIDE % m === 0 && SIDE % n === 0 && SLAB % k === 0;

/** The operations on matrices, as functions of places in workgroup memory. */
export const matrixOps = ({ m, n, k }: MatrixShape, columns: number) => `
alias Left = subgroup_matrix_left<f16, ${k}, ${m}>;
alias Right = subgroup_matrix_right<f16, ${n}, ${k}>;
alias Sum = subgroup_matrix_result<f32, ${n}, ${m}>;
fn left(at: u32) -> Left { return subgroupMatrixLoad<Left, row_major>(&xs, at, ${SLAB}u); }
fn right(at: u32) -> Right { return subgroupMatrixLoad<Right, row_major>(&ws, at, ${columns}u); }
fn multiply(a: Left, b: Right, sum: Sum) -> Sum { return subgroupMatrixMultiplyAccumulate(a, b, sum); }
fn put(at: u32, sum: Sum) { subgroupMatrixStore<row_major>(&out, at, sum, ${n}u); }`;

/**
 * Each workgroup stages a slab of x and of W as f16, zeros beyond k; its subgroups multiply what is there, each its own
 * part of the tile. An output is summed over k by the adapter's matrices in order, whatever the tile and the row count;
 * how they sum within is the adapter's.
 */
export const matrices: Form = {
	enable: ["f16", "subgroups", "chromium_experimental_subgroup_matrix"],
	groups: ({ rows, columns }, m, n4) => [Math.ceil(n4 / (columns / 4)), Math.ceil(m / rows)],
	code({ rows, columns }, { matrix: shape }) {
		if (!shape) throw new RangeError("This adapter has no subgroup matrices.");
		const { m, n, k, lanes, subgroups } = shape;
		const down = rows > SIDE ? Math.min(2, subgroups) : 1;
		const across = subgroups / down;
		const r = range(rows / m / down);
		const c = range(columns / n / across);
		const threads = lanes * subgroups;
		const columns4 = columns / 4;
		const each = r.flatMap((i) => c.map((j) => ({ i, j, sum: `s${i}_${j}` })));
		const stage = (array: string) =>
			range(4)
				.map((i) => `${array}[t * 4u + ${i}u] = value[${i}];`)
				.join(" ");
		return `
var<workgroup> xs: array<f16, ${rows * SLAB}>;
var<workgroup> ws: array<f16, ${SLAB * columns}>;
var<workgroup> out: array<f32, ${subgroups * m * n}>;
${matrixOps(shape, columns)}
@compute @workgroup_size(${threads})
fn main(
	@builtin(workgroup_id) group: vec3u,
	@builtin(local_invocation_index) index: u32,
	@builtin(subgroup_id) subgroup: u32
) {
	let row = group.y * ${rows}u;
	let column = group.x * ${columns4}u;
	let top = subgroup / ${across}u * ${r.length * m}u;
	let side = subgroup % ${across}u * ${c.length * n}u;
	${each.map(({ sum }) => `var ${sum}: Sum;`).join(" ")}
	for (var k = 0u; k < p.k4; k += ${SLAB / 4}u) {
		for (var t = index; t < ${(rows * SLAB) / 4}u; t += ${threads}u) {
			let at4 = k + t % ${SLAB / 4}u;
			let x4 = loadX(min(row + t / ${SLAB / 4}u, p.m - 1u) * p.k4 + min(at4, p.k4 - 1u));
			let value = select(vec4h(0), vec4h(x4), at4 < p.k4);
			${stage("xs")}
		}
		for (var t = index; t < ${SLAB * columns4}u; t += ${threads}u) {
			let at4 = k * 4u + t / ${columns4}u;
			let w4 = loadW(min(at4, p.k4 * 4u - 1u), min(column + t % ${columns4}u, p.n4 - 1u), vec4f(1));
			let value = select(vec4h(0), vec4h(w4), at4 < p.k4 * 4u);
			${stage("ws")}
		}
		workgroupBarrier();
		// Subgroups may be smaller than the largest that the adapter names, and then more.
		if (subgroup < ${subgroups}u) {
			${range(SLAB / k)
				.map(
					(s) => `{
				${r.map((i) => `let a${i} = left((top + ${i * m}u) * ${SLAB}u + ${s * k}u);`).join(" ")}
				${c.map((j) => `let b${j} = right(${s * k * columns}u + side + ${j * n}u);`).join(" ")}
				${each.map(({ i, j, sum }) => `${sum} = multiply(a${i}, b${j}, ${sum});`).join(" ")}
			}`,
				)
				.join("")}
		}
		workgroupBarrier();
	}
	${each
		.map(
			({ i, j, sum }) => `if (subgroup < ${subgroups}u) { put(subgroup * ${m * n}u, ${sum}); }
	workgroupBarrier();
	finish(index, row + ${i * m}u, column + ${(j * n) / 4}u);
	workgroupBarrier();`,
		)
		.join("\n\t")}
}
// Stores one matrix of each subgroup; row and column are those of the first one's.
fn finish(index: u32, row: u32, column: u32) {
	for (var t = index; t < ${(subgroups * m * n) / 4}u; t += ${threads}u) {
		let part = t / ${(m * n) / 4}u;
		let within = t % ${(m * n) / 4}u;
		let sum = vec4f(out[t * 4u], out[t * 4u + 1u], out[t * 4u + 2u], out[t * 4u + 3u]);
		let down = part / ${across}u * ${r.length * m}u + within / ${n / 4}u;
		let along = part % ${across}u * ${(c.length * n) / 4}u + within % ${n / 4}u;
		store(row + down, column + along, sum);
	}
}`;
	},
};
