/** The programs of a matmul on ordinary arithmetic. */
import { addProducts, swapped } from "../gpu/quad.ts";
import { range } from "../gpu/variants.ts";
import type { Form, MatmulVariant } from "./form.ts";

const quad = (rows: number, columns: number): MatmulVariant => ({
	name: `quad ${rows}x${columns}`,
	form: "quad",
	rows,
	columns,
	needs: ["subgroups"],
});
const tile = (rows: number, columns: number): MatmulVariant => ({
	name: `tile ${rows}x${columns}`,
	form: "tile",
	rows,
	columns,
});
const shared = (rows: number, columns: number): MatmulVariant => ({
	name: `shared ${rows}x${columns}`,
	form: "shared",
	rows,
	columns,
});

/** vec4s of k that a shared one stages at a time, where k has such a multiple. */
export const SLAB = 4;

/** The plainest first. */
export const matmulVariants: readonly MatmulVariant[] = [
	...[1, 2, 4, 8, 16].flatMap((rows) => [tile(rows, 4), tile(rows, 8)]),
	tile(4, 16),
	tile(8, 16),
	tile(16, 16),
	quad(4, 16),
	quad(8, 16),
	quad(16, 16),
	quad(32, 16),
	quad(32, 32),
	quad(16, 32),
	shared(32, 32),
	shared(64, 64),
];

/** Invocations of a tiled one by columns and rows: where it is for so few rows that one takes them all, none idles. */
const blockOf = ({ rows }: MatmulVariant): [number, number] => (rows <= 2 ? [32, 1] : [8, 4]);

/** Register tiles: an invocation computes rows x columns outputs from its own loads. */
export const tiled: Form = {
	groups(variant, m, n4) {
		const { rows, columns } = variant;
		const [across, down] = blockOf(variant);
		return [Math.ceil(n4 / (columns / 4) / across), Math.ceil(m / rows / down)];
	},
	code(variant) {
		const { rows, columns } = variant;
		const r = range(rows);
		const c = range(columns / 4);
		return `
@compute @workgroup_size(${blockOf(variant)}) fn main(@builtin(global_invocation_id) id: vec3u) {
	let column = id.x * ${c.length}u;
	let row = id.y * ${rows}u;
	if (column >= p.n4 || row >= p.m) { return; }
	${r.map((i) => `let x${i} = min(row + ${i}u, p.m - 1u) * p.k4;`).join("\n\t")}
	${c.map((j) => `let w${j} = min(column + ${j}u, p.n4 - 1u);`).join(" ")}
	${r.flatMap((i) => c.map((j) => `var s${i}_${j} = vec4f(0);`)).join(" ")}
	for (var k = 0u; k < p.k4; k++) {
		${r.map((i) => `let a${i} = loadX(x${i} + k);`).join(" ")}
		${c.map((j) => `let g${j} = scaleW(k, w${j});`).join(" ")}
		${range(4)
			.map(
				(q) => `
		${c.map((j) => `let b${q}_${j} = loadW(k * 4u + ${q}u, w${j}, g${j});`).join(" ")}
		${r.flatMap((i) => c.map((j) => `s${i}_${j} = fma(vec4f(a${i}[${q}]), b${q}_${j}, s${i}_${j});`)).join(" ")}`,
			)
			.join("")}
	}
	// A loop, so that the store is compiled once.
	var sums = array<vec4f, ${rows * c.length}>(${r.flatMap((i) => c.map((j) => `s${i}_${j}`)).join(", ")});
	for (var i = 0u; i < ${rows * c.length}u; i++) {
		store(row + i / ${c.length}u, column + i % ${c.length}u, sums[i]);
	}
}`;
	},
};

/**
 * Quads: four lanes share a tile. Each lane loads its own rows of x and its own columns of W; the columns go round by
 * quad swaps, so that lane l sums its rows with the columns of lanes l, l^1, l^2, l^3. Every loaded word is used by
 * four lanes.
 */
export const quads: Form = {
	enable: ["subgroups"],
	groups: ({ rows, columns }, m, n4) => [Math.ceil(n4 / (columns / 4)), Math.ceil(m / rows)],
	code({ rows, columns }) {
		const r = range(rows / 4);
		const c = range(columns / 16);
		const four = range(4);
		const sums = r.flatMap((i) => c.flatMap((j) => four.map((s) => `s${i}_${j}_${s}`)));
		const loadColumns = (j: number, q: number) =>
			`let b${q}_${j}_0 = loadW(k * 4u + ${q}u, w${j}, g${j}); ${swapped(`b${q}_${j}`)}`;
		const multiply = (j: number, s: number) =>
			addProducts(
				r.map((i) => ({ name: `s${i}_${j}_${s}`, by: (q) => `a${i}[${q}]` })),
				four.map((q) => `b${q}_${j}_${s}`),
			);
		return `
@compute @workgroup_size(4)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(subgroup_invocation_id) invocation: u32) {
	let lane = invocation & 3u;
	let row = id.y * ${rows}u + lane;
	let column = id.x * ${4 * c.length}u;
	${r.map((i) => `let x${i} = min(row + ${4 * i}u, p.m - 1u) * p.k4;`).join("\n\t")}
	${c.map((j) => `let w${j} = min(column + ${4 * j}u + lane, p.n4 - 1u);`).join(" ")}
	${sums.map((sum) => `var ${sum} = vec4f(0);`).join(" ")}
	for (var k = 0u; k < p.k4; k++) {
		${r.map((i) => `let a${i} = loadX(x${i} + k);`).join(" ")}
		${c.map((j) => `let g${j} = scaleW(k, w${j});`).join(" ")}
		${c.flatMap((j) => four.map((q) => loadColumns(j, q))).join("\n\t\t")}
		${c.flatMap((j) => four.map((s) => multiply(j, s))).join("\n\t\t")}
	}
	// A loop, so that the store is compiled once.
	var sums = array<vec4f, ${sums.length}>(${sums.join(", ")});
	for (var i = 0u; i < ${sums.length}u; i++) {
		store(row + i / ${4 * c.length}u * 4u, column + (i / 4u) % ${c.length}u * 4u + (lane ^ (i & 3u)), sums[i]);
	}
}`;
	},
};

/** Workgroup memory: 8 x 8 invocations stage a slab of x and of W for a tile of rows x columns, then sum from there. */
export const sharedMemory: Form = {
	groups: ({ rows, columns }, m, n4) => [Math.ceil(n4 / (columns / 4)), Math.ceil(m / rows)],
	code({ rows, columns }, { slab }) {
		const r = range(rows / 8);
		const c = range(columns / 32);
		const columns4 = columns / 4;
		const store = (i: number, j: number) => `store(row + id.y + ${8 * i}u, column + id.x + ${8 * j}u, s${i}_${j});`;
		return `
var<workgroup> xs: array<vec4f, ${rows * slab}>;
var<workgroup> ws: array<vec4f, ${columns4 * slab * 4}>;
@compute @workgroup_size(8, 8)
fn main(
	@builtin(workgroup_id) group: vec3u,
	@builtin(local_invocation_id) id: vec3u,
	@builtin(local_invocation_index) index: u32
) {
	let row = group.y * ${rows}u;
	let column = group.x * ${columns4}u;
	${r.flatMap((i) => c.map((j) => `var s${i}_${j} = vec4f(0);`)).join(" ")}
	for (var k = 0u; k < p.k4; k += ${slab}u) {
		for (var t = index; t < ${rows * slab}u; t += 64u) {
			xs[t] = loadX(min(row + t / ${slab}u, p.m - 1u) * p.k4 + k + t % ${slab}u);
		}
		for (var t = index; t < ${columns4 * slab * 4}u; t += 64u) {
			let at = min(column + t % ${columns4}u, p.n4 - 1u);
			ws[t] = loadW(k * 4u + t / ${columns4}u, at, scaleW(k + t / ${4 * columns4}u, at));
		}
		workgroupBarrier();
		for (var u = 0u; u < ${slab}u; u++) {
			${r.map((i) => `let a${i} = xs[(id.y + ${8 * i}u) * ${slab}u + u];`).join(" ")}
			${range(4)
				.map(
					(q) => `
			${c.map((j) => `let b${q}_${j} = ws[(u * 4u + ${q}u) * ${columns4}u + id.x + ${8 * j}u];`).join(" ")}
			${r.flatMap((i) => c.map((j) => `s${i}_${j} = fma(vec4f(a${i}[${q}]), b${q}_${j}, s${i}_${j});`)).join(" ")}`,
				)
				.join("")}
		}
		workgroupBarrier();
	}
	${r.flatMap((i) => c.map((j) => store(i, j))).join("\n\t")}
}`;
	},
};
