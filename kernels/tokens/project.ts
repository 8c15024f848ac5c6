import { kernel, optional, read, struct, type Values, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { groups } from "../gpu/workgroups.ts";
import { PHILOX, PURPOSE } from "../sample/random.ts";

/** One row of a reduction: `tokens` tokens from `token` on become `count` tokens from `out` on. */
export const REDUCE_ROW = struct("ReduceRow", {
	token: "u32",
	tokens: "u32",
	out: "u32",
	count: "u32",
	/** First of the row's own draws: of its projection matrix, or of its positions. */
	draw: "u32",
	seed: "u32",
	scale: "u32",
	/** Tells the draws of spans and guidance rows of one scale apart. */
	stream: "u32",
	/** Tokens of one line of its grid. */
	columns: "u32",
});
export type ReduceRow = Values<typeof REDUCE_ROW.fields>;

export const most = (rows: readonly ReduceRow[], size: (row: ReduceRow) => number) => Math.max(...rows.map(size));

const drawing = kernel({
	name: "draw projection",
	bindings: { matrices: write("f32"), rows: read(REDUCE_ROW) },
	code: () => `${PHILOX}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.y];
	if (id.x >= row.tokens * row.count) { return; }
	let counter = vec4u(id.x / row.count, id.x % row.count, row.scale, ${PURPOSE.projection}u);
	let u = uniform4(philox(counter, vec2u(row.seed, row.stream)));
	matrices[row.draw + id.x] = sqrt(-2.0 * log(u.x)) * cos(6.283185307179586 * u.y) / sqrt(f32(row.count));
}`,
});

/** Fills matrices [tokens, count] of every row with N(0, 1/count) (Box and Muller over Philox). */
export function drawProjection(pass: Pass, op: { matrices: Tensor; rows: readonly ReduceRow[]; label: string }): void {
	const { matrices, rows, label } = op;
	pass.run(drawing, {
		label,
		bindings: { matrices, rows: pass.rows(REDUCE_ROW, rows) },
		groups: [groups(most(rows, ({ tokens, count }) => tokens * count)), rows.length],
	});
}

const projecting = kernel({
	name: "project",
	params: { width4: "u32" },
	bindings: { x: read("vec4f"), matrices: read("f32"), y: write("vec4f"), rows: read(REDUCE_ROW) },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.y];
	let width4 = p.width4;
	if (id.x >= row.count * width4) { return; }
	let k = id.x / width4;
	let c = id.x % width4;
	var sum = vec4f(0);
	for (var t = 0u; t < row.tokens; t++) {
		sum = fma(vec4f(matrices[row.draw + t * row.count + k]), x[(row.token + t) * width4 + c], sum);
	}
	y[(row.out + k) * width4 + c] = sum;
}`,
});

/** y = Q^T x by row: x [tokens, width] -> y [count, width]. */
export function project(
	pass: Pass,
	op: { x: Tensor; matrices: Tensor; y: Tensor; width: number; rows: readonly ReduceRow[]; label: string },
): void {
	const { x, matrices, y, width, rows, label } = op;
	pass.run(projecting, {
		label,
		params: { width4: width / 4 },
		bindings: { x, matrices, y, rows: pass.rows(REDUCE_ROW, rows) },
		groups: [groups(most(rows, ({ count }) => (count * width) / 4)), rows.length],
	});
}

const squaring = kernel({
	name: "squared norms",
	params: { tokens: "u32", width4: "u32" },
	bindings: { x: read("vec4f"), norms: write("f32") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.tokens) { return; }
	var sum = vec4f(0);
	for (var i = 0u; i < p.width4; i++) { let v = x[id.x * p.width4 + i]; sum = fma(v, v, sum); }
	norms[id.x] = dot(sum, vec4f(1));
}`,
});

/** Squared L2 norm of every token: x [tokens, width] -> norms [tokens]. */
export function squaredNorms(
	pass: Pass,
	op: { x: Tensor; norms: Tensor; tokens: number; width: number; label: string },
): void {
	const { x, norms, tokens, width, label } = op;
	pass.run(squaring, {
		label,
		params: { tokens, width4: width / 4 },
		bindings: { x, norms },
		groups: [groups(tokens)],
	});
}

const racing = kernel({
	name: "race for positions",
	bindings: { norms: read("f32"), keys: write("f32"), rows: read(REDUCE_ROW) },
	code: () => `${PHILOX}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.y];
	if (id.x >= row.tokens) { return; }
	let u = uniform4(philox(vec4u(id.x, 0u, row.scale, ${PURPOSE.positions}u), vec2u(row.seed, row.stream))).x;
	keys[row.token + id.x] = -log(u) / max(norms[row.token + id.x], 1e-30);
}`,
});

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
	const { norms, keys, positions, rows, label } = op;
	const table = pass.rows(REDUCE_ROW, rows);
	pass.run(racing, {
		label: `${label}.race`,
		bindings: { norms, keys, rows: table },
		groups: [groups(most(rows, ({ tokens }) => tokens)), rows.length],
	});
	rankPositions(pass, { keys, positions, rows, table, label });
}

const ranking = kernel({
	name: "rank positions",
	bindings: { keys: read("f32"), positions: write("u32"), rows: read(REDUCE_ROW) },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.y];
	if (id.x >= row.tokens) { return; }
	let own = keys[row.token + id.x];
	var before = 0u;
	for (var i = 0u; i < row.tokens; i++) {
		let other = keys[row.token + i];
		if (other < own || (other == own && i < id.x)) { before++; }
	}
	if (before < row.count) { positions[row.draw + before] = id.x; }
}`,
});

/**
 * The `count` tokens of every row with the smallest keys, in the order of the keys: keys [tokens] of the flat batch ->
 * positions: u32, from each row's `draw` on. `table`: of the rows.
 */
function rankPositions(
	pass: Pass,
	op: { keys: Tensor; positions: Tensor; rows: readonly ReduceRow[]; table: Tensor; label: string },
): void {
	const { keys, positions, rows, table, label } = op;
	pass.run(ranking, {
		label: `${label}.rank`,
		bindings: { keys, positions, rows: table },
		groups: [groups(most(rows, ({ tokens }) => tokens)), rows.length],
	});
}

const averaging = kernel({
	name: "mean of rows",
	params: { width4: "u32" },
	bindings: { x: read("vec4f"), means: write("vec4f"), rows: read(REDUCE_ROW) },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.width4) { return; }
	let row = rows[id.y];
	var sum = vec4f(0);
	for (var t = 0u; t < row.tokens; t++) { sum += x[(row.token + t) * p.width4 + id.x]; }
	means[id.y * p.width4 + id.x] = sum / f32(row.tokens);
}`,
});

const FROM_MEAN = `
	for (var i = 0u; i < p.width4; i++) { let d = x[own + i] - means[id.y * p.width4 + i]; sum = fma(d, d, sum); }`;

const FROM_NEIGHBOURS = `
	let line = id.x / row.columns;
	let column = id.x % row.columns;
	let lines = vec2u(max(line, 1u) - 1u, min(line + 2u, row.tokens / row.columns));
	let columns = vec2u(max(column, 1u) - 1u, min(column + 2u, row.columns));
	let around = f32((lines.y - lines.x) * (columns.y - columns.x));
	for (var i = 0u; i < p.width4; i++) {
		var mean = vec4f(0);
		for (var l = lines.x; l < lines.y; l++) {
			for (var c = columns.x; c < columns.y; c++) { mean += x[(row.token + l * row.columns + c) * p.width4 + i]; }
		}
		let d = x[own + i] - mean / around;
		sum = fma(d, d, sum);
	}`;

const measuring = kernel({
	name: "distance",
	params: { width4: "u32" },
	bindings: { x: read("vec4f"), keys: write("f32"), rows: read(REDUCE_ROW), means: optional(read("vec4f")) },
	code: (_, { means }) => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.y];
	if (id.x >= row.tokens) { return; }
	let own = (row.token + id.x) * p.width4;
	var sum = vec4f(0);
	${means ? FROM_MEAN : FROM_NEIGHBOURS}
	keys[row.token + id.x] = -dot(sum, vec4f(1));
}`,
});

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
	const { x, keys, positions, rows, label } = op;
	const table = pass.rows(REDUCE_ROW, rows);
	const params = { width4: op.width / 4 };
	const means = op.from === "mean" ? op.means : undefined;
	if (means)
		pass.run(averaging, {
			label: `${label}.mean`,
			params,
			bindings: { x, means, rows: table },
			groups: [groups(params.width4), rows.length],
		});
	pass.run(measuring, {
		label: `${label}.distance`,
		params,
		bindings: { x, keys, rows: table, means },
		groups: [groups(most(rows, ({ tokens }) => tokens)), rows.length],
	});
	rankPositions(pass, { keys, positions, rows, table, label });
}
