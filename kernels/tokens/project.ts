import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { PHILOX, PURPOSE } from "../sample/random.ts";
import { groups } from "./rows.ts";

/** One row of a reduction: `tokens` tokens from `token` on become `count` tokens from `out` on. */
export interface ReduceRow {
	token: number;
	tokens: number;
	out: number;
	count: number;
	/** First of the row's own draws: of its projection matrix, or of its positions. */
	draw: number;
	seed: number;
	scale: number;
	/** Tells the draws of spans and guidance rows of one scale apart. */
	stream: number;
	/** Tokens of one line of its grid. */
	columns: number;
}
export const REDUCE_ROW = `struct ReduceRow { token: u32, tokens: u32, out: u32, count: u32, draw: u32, seed: u32, scale: u32, stream: u32, columns: u32 }`;

export const reduceTable = (pass: Pass, rows: readonly ReduceRow[]) =>
	pass.table(
		rows.flatMap(({ token, tokens, out, count, draw, seed, scale, stream, columns }) => [
			token,
			tokens,
			out,
			count,
			draw,
			seed,
			scale,
			stream,
			columns,
		]),
	);
export const most = (rows: readonly ReduceRow[], size: (row: ReduceRow) => number) => Math.max(...rows.map(size));

/** Fills matrices [tokens, count] of every row with N(0, 1/count) (Box and Muller over Philox). */
export function drawProjection(pass: Pass, op: { matrices: Tensor; rows: readonly ReduceRow[]; label: string }): void {
	const code = `
${REDUCE_ROW}
${PHILOX}
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read_write> matrices: array<f32>;
@group(0) @binding(2) var<storage, read> rows: array<ReduceRow>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.y];
	if (id.y >= p.x || id.x >= row.tokens * row.count) { return; }
	let u = uniform4(philox(vec4u(id.x / row.count, id.x % row.count, row.scale, ${PURPOSE.projection}u), vec2u(row.seed, row.stream)));
	matrices[row.draw + id.x] = sqrt(-2.0 * log(u.x)) * cos(6.283185307179586 * u.y) / sqrt(f32(row.count));
}`;
	pass.run(
		op.label,
		code,
		[op.rows.length, 0, 0, 0],
		[op.matrices, reduceTable(pass, op.rows)],
		[groups(most(op.rows, (r) => r.tokens * r.count)), op.rows.length],
	);
}

/** y = Q^T x by row: x [tokens, width] -> y [count, width]. */
export function project(
	pass: Pass,
	op: { x: Tensor; matrices: Tensor; y: Tensor; width: number; rows: readonly ReduceRow[]; label: string },
): void {
	const code = `
${REDUCE_ROW}
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> matrices: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(4) var<storage, read> rows: array<ReduceRow>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.y];
	let width4 = p.x;
	if (id.x >= row.count * width4) { return; }
	let k = id.x / width4;
	let c = id.x % width4;
	var sum = vec4f(0);
	for (var t = 0u; t < row.tokens; t++) {
		sum = fma(vec4f(matrices[row.draw + t * row.count + k]), x[(row.token + t) * width4 + c], sum);
	}
	y[(row.out + k) * width4 + c] = sum;
}`;
	pass.run(
		op.label,
		code,
		[op.width / 4, 0, 0, 0],
		[op.x, op.matrices, op.y, reduceTable(pass, op.rows)],
		[groups(most(op.rows, (r) => (r.count * op.width) / 4)), op.rows.length],
	);
}

/** Squared L2 norm of every token: x [tokens, width] -> norms [tokens]. */
export function squaredNorms(
	pass: Pass,
	op: { x: Tensor; norms: Tensor; tokens: number; width: number; label: string },
): void {
	const code = `
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> norms: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.x) { return; }
	var sum = vec4f(0);
	for (var i = 0u; i < p.y; i++) { let v = x[id.x * p.y + i]; sum = fma(v, v, sum); }
	norms[id.x] = dot(sum, vec4f(1));
}`;
	pass.run(op.label, code, [op.tokens, op.width / 4, 0, 0], [op.x, op.norms], [groups(op.tokens)]);
}

/**
 * Draws `count` positions of every row without replacement, probability proportional to `norms`: the order of
 * exponential races -ln(u) / weight is the order of the draws (Efraimidis and Spirakis 2006).
 *
 * norms: [tokens] of the flat batch -> positions: u32, `count` from each row's `draw` on; `keys`: scratch [tokens].
 */
export function drawPositions(
	pass: Pass,
	op: { norms: Tensor; keys: Tensor; positions: Tensor; rows: readonly ReduceRow[]; label: string },
): void {
	const table = reduceTable(pass, op.rows);
	const race = `
${REDUCE_ROW}
${PHILOX}
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> norms: array<f32>;
@group(0) @binding(2) var<storage, read_write> keys: array<f32>;
@group(0) @binding(3) var<storage, read> rows: array<ReduceRow>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.y];
	if (id.y >= p.x || id.x >= row.tokens) { return; }
	let u = uniform4(philox(vec4u(id.x, 0u, row.scale, ${PURPOSE.positions}u), vec2u(row.seed, row.stream))).x;
	keys[row.token + id.x] = -log(u) / max(norms[row.token + id.x], 1e-30);
}`;
	pass.run(
		`${op.label}.race`,
		race,
		[op.rows.length, 0, 0, 0],
		[op.norms, op.keys, table],
		[groups(most(op.rows, (r) => r.tokens)), op.rows.length],
	);
	rankPositions(pass, op);
}

/**
 * The `count` tokens of every row with the smallest keys, in the order of the keys: keys [tokens] of the flat batch ->
 * positions: u32, from each row's `draw` on.
 */
function rankPositions(
	pass: Pass,
	op: { keys: Tensor; positions: Tensor; rows: readonly ReduceRow[]; label: string },
): void {
	const code = `
${REDUCE_ROW}
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> keys: array<f32>;
@group(0) @binding(2) var<storage, read_write> positions: array<u32>;
@group(0) @binding(3) var<storage, read> rows: array<ReduceRow>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.y];
	if (id.y >= p.x || id.x >= row.tokens) { return; }
	let own = keys[row.token + id.x];
	var before = 0u;
	for (var i = 0u; i < row.tokens; i++) {
		let other = keys[row.token + i];
		if (other < own || (other == own && i < id.x)) { before++; }
	}
	if (before < row.count) { positions[row.draw + before] = id.x; }
}`;
	pass.run(
		`${op.label}.rank`,
		code,
		[op.rows.length, 0, 0, 0],
		[op.keys, op.positions, reduceTable(pass, op.rows)],
		[groups(most(op.rows, (r) => r.tokens)), op.rows.length],
	);
}

/**
 * The `count` tokens of every row farthest from what surrounds them, farthest first: from the mean token of the row, or
 * from the mean of the up to nine tokens around. x [tokens, width] -> positions: u32, from each row's `draw` on;
 * `keys`: scratch [tokens], `means`: [rows, width].
 */
export function farthestPositions(
	pass: Pass,
	op: {
		x: Tensor;
		from: "mean" | "neighbours";
		means: Tensor;
		keys: Tensor;
		positions: Tensor;
		width: number;
		rows: readonly ReduceRow[];
		label: string;
	},
): void {
	const table = reduceTable(pass, op.rows);
	const width4 = op.width / 4;
	const mean = `
${REDUCE_ROW}
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> means: array<vec4f>;
@group(0) @binding(3) var<storage, read> rows: array<ReduceRow>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.x) { return; }
	let row = rows[id.y];
	var sum = vec4f(0);
	for (var t = 0u; t < row.tokens; t++) { sum += x[(row.token + t) * p.x + id.x]; }
	means[id.y * p.x + id.x] = sum / f32(row.tokens);
}`;
	const neighbours = `
	let line = id.x / row.columns;
	let column = id.x % row.columns;
	let lines = vec2u(max(line, 1u) - 1u, min(line + 2u, row.tokens / row.columns));
	let columns = vec2u(max(column, 1u) - 1u, min(column + 2u, row.columns));
	let around = f32((lines.y - lines.x) * (columns.y - columns.x));
	for (var i = 0u; i < p.x; i++) {
		var mean = vec4f(0);
		for (var l = lines.x; l < lines.y; l++) { for (var c = columns.x; c < columns.y; c++) { mean += x[(row.token + l * row.columns + c) * p.x + i]; } }
		let d = x[own + i] - mean / around;
		sum = fma(d, d, sum);
	}`;
	const distance = `
${REDUCE_ROW}
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> keys: array<f32>;
@group(0) @binding(3) var<storage, read> rows: array<ReduceRow>;
${op.from === "mean" ? "@group(0) @binding(4) var<storage, read> means: array<vec4f>;" : ""}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.y];
	if (id.x >= row.tokens) { return; }
	let own = (row.token + id.x) * p.x;
	var sum = vec4f(0);
	${op.from === "mean" ? "for (var i = 0u; i < p.x; i++) { let d = x[own + i] - means[id.y * p.x + i]; sum = fma(d, d, sum); }" : neighbours}
	keys[row.token + id.x] = -dot(sum, vec4f(1));
}`;
	const params = [width4, 0, 0, 0];
	if (op.from === "mean")
		pass.run(`${op.label}.mean`, mean, params, [op.x, op.means, table], [groups(width4), op.rows.length]);
	pass.run(
		`${op.label}.distance`,
		distance,
		params,
		[op.x, op.keys, table, ...(op.from === "mean" ? [op.means] : [])],
		[groups(most(op.rows, (r) => r.tokens)), op.rows.length],
	);
	rankPositions(pass, op);
}
