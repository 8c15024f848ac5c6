import { OutOfMemoryError } from "../gpu/errors.ts";
import { kernel, optional, read, struct, type Values, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { bound, boundWhole, byWindows, parted, rowStep, rowsBound, type Window, windowsOf } from "../gpu/windows.ts";
import { FLAT, flatGroups, groups } from "../gpu/workgroups.ts";
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
	params: { first: "u32?", end: "u32" },
	bindings: { matrices: write("f32"), rows: read(REDUCE_ROW) },
	code: () => `${PHILOX}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.z];
	let i = p.first + ${FLAT};
	if (i >= min(p.end, row.tokens * row.count)) { return; }
	let counter = vec4u(i / row.count, i % row.count, row.scale, ${PURPOSE.projection}u);
	let u = uniform4(philox(counter, vec2u(row.seed, row.stream)));
	matrices[row.draw + i] = sqrt(-2.0 * log(u.x)) * cos(6.283185307179586 * u.y) / sqrt(f32(row.count));
}`,
});

/** Fills matrices [tokens, count] of every row with N(0, 1/count) (Box and Muller over Philox), of any length. */
export function drawProjection(pass: Pass, op: { matrices: Tensor; rows: readonly ReduceRow[]; label: string }): void {
	const { matrices, rows, label } = op;
	const run = (matrices: Tensor, rows: readonly ReduceRow[], first: number, count: number) =>
		pass.run(drawing, {
			label,
			params: { first, end: first + count },
			bindings: { matrices, rows: pass.rows(REDUCE_ROW, rows) },
			groups: [...flatGroups(count), rows.length],
		});
	if (boundWhole(pass.gpu, matrices)) {
		run(
			matrices,
			rows,
			0,
			most(rows, ({ tokens, count }) => tokens * count),
		);
		return;
	}
	for (const row of rows) {
		const all = { first: row.draw, count: row.tokens * row.count };
		byWindows(pass.gpu, all, [[matrices, 1]], label, ([part], { first, count, at }) =>
			// Its matrix begins before the binding, maybe: numbers of 32 bits go round.
			run(part, [{ ...row, draw: at - (first - row.draw) }], first - row.draw, count),
		);
	}
}

const projecting = kernel({
	name: "project",
	params: { width4: "u32", first: "u32?", end: "u32" },
	bindings: { x: read("vec4f"), matrices: read("f32"), y: write("vec4f"), rows: read(REDUCE_ROW) },
	code: ({ add }: { add: boolean }) => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.z];
	let width4 = p.width4;
	let i = ${FLAT};
	let k = p.first + i / width4;
	let c = i % width4;
	if (k >= min(p.end, row.count)) { return; }
	let to = (row.out + k) * width4 + c;
	var sum = ${add ? "y[to]" : "vec4f(0)"};
	for (var t = 0u; t < row.tokens; t++) {
		sum = fma(vec4f(matrices[row.draw + t * row.count + k]), x[(row.token + t) * width4 + c], sum);
	}
	y[to] = sum;
}`,
});

interface Projected {
	x: Tensor;
	matrices: Tensor;
	y: Tensor;
	width: number;
	rows: readonly ReduceRow[];
	label: string;
}

/** y = Q^T x by row: x [tokens, width] -> y [count, width], all of any length. */
export function project(pass: Pass, op: Projected): void {
	const { x, matrices, y, rows } = op;
	const count = most(rows, ({ count }) => count);
	if (boundWhole(pass.gpu, x, matrices, y)) projectPart(pass, op, { first: 0, count }, false);
	else for (const row of rows) projectRow(pass, op, row);
}

/** The tokens `out` of each row, of all its tokens; with `add` more of a sum that has begun. */
function projectPart(pass: Pass, op: Projected, out: Window, add: boolean): void {
	const { x, matrices, y, width, rows, label } = op;
	pass.run(projecting, {
		label,
		options: { add },
		params: { width4: width / 4, first: out.first, end: out.first + out.count },
		bindings: { x, matrices, y, rows: pass.rows(REDUCE_ROW, rows) },
		groups: [...flatGroups((out.count * width) / 4), rows.length],
	});
}

/** As many of its tokens at a time as bindings hold with their share of the matrix, one after the other. */
function projectRow(pass: Pass, op: Projected, row: ReduceRow): void {
	const { x, matrices, y, width, label } = op;
	const { gpu } = pass;
	const { token, tokens, out, count, draw } = row;
	const floats = [[matrices, 1]] as const;
	const held = Math.min(rowsBound(gpu, [[x, width]], label), Math.floor(rowsBound(gpu, floats, label) / count));
	for (const into of windowsOf(gpu, { first: out, count }, [[y, width]], label))
		for (const of of parted(token, tokens, held)) {
			const [yAt, xAt] = [into.first % rowStep([[y, width]]), of.first % rowStep([[x, width]])];
			const drawn = draw + (of.first - token) * count;
			const at = drawn % rowStep(floats);
			const parts = {
				x: bound(x, width, of.first - xAt, of.first + of.count),
				y: bound(y, width, into.first - yAt, into.first + into.count),
				matrices: bound(matrices, 1, drawn - at, drawn + of.count * count),
			};
			const first = into.first - out;
			const rows = [{ ...row, token: xAt, tokens: of.count, draw: at, out: yAt - first }];
			projectPart(pass, { ...op, ...parts, rows }, { first, count: into.count }, of.first > token);
		}
}

const squaring = kernel({
	name: "squared norms",
	params: { tokens: "u32", width4: "u32", to: "u32?" },
	bindings: { x: read("vec4f"), norms: write("f32") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.tokens) { return; }
	var sum = vec4f(0);
	for (var i = 0u; i < p.width4; i++) { let v = x[id.x * p.width4 + i]; sum = fma(v, v, sum); }
	norms[p.to + id.x] = dot(sum, vec4f(1));
}`,
});

/** Squared L2 norm of every token: x [tokens, width] of any length -> norms [tokens]. */
export function squaredNorms(
	pass: Pass,
	op: { x: Tensor; norms: Tensor; tokens: number; width: number; label: string },
): void {
	const { x, norms, tokens, width, label } = op;
	const run = (x: Tensor, to: number, tokens: number) =>
		pass.run(squaring, {
			label,
			params: { tokens, width4: width / 4, to },
			bindings: { x, norms },
			groups: [groups(tokens)],
		});
	if (boundWhole(pass.gpu, x)) run(x, 0, tokens);
	else
		byWindows(pass.gpu, { first: 0, count: tokens }, [[x, width]], label, ([x], { first, count }) =>
			run(x, first, count),
		);
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
	params: { width4: "u32", first: "u32?", end: "u32", row: "u32?" },
	bindings: { x: read("vec4f"), means: write("vec4f"), rows: read(REDUCE_ROW) },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.width4) { return; }
	let row = rows[id.y];
	let to = (p.row + id.y) * p.width4 + id.x;
	var sum = vec4f(0);
	if (p.first > 0u) { sum = means[to]; }
	let end = min(p.end, row.tokens);
	for (var t = p.first; t < end; t++) { sum += x[(row.token + t) * p.width4 + id.x]; }
	means[to] = select(sum, sum / f32(row.tokens), end == row.tokens);
}`,
});

const FROM_MEAN = `
	let mean = (p.row + id.y) * p.width4;
	for (var i = 0u; i < p.width4; i++) { let d = x[own + i] - means[mean + i]; sum = fma(d, d, sum); }`;

const FROM_NEIGHBOURS = `
	let line = t / row.columns;
	let column = t % row.columns;
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
	params: { width4: "u32", first: "u32?", end: "u32", row: "u32?", key: "u32?" },
	bindings: { x: read("vec4f"), keys: write("f32"), rows: read(REDUCE_ROW), means: optional(read("vec4f")) },
	code: (_, { means }) => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.y];
	let t = p.first + id.x;
	if (t >= min(p.end, row.tokens)) { return; }
	let own = (row.token + t) * p.width4;
	var sum = vec4f(0);
	${means ? FROM_MEAN : FROM_NEIGHBOURS}
	keys[p.key + row.token + t] = -dot(sum, vec4f(1));
}`,
});

/**
 * The `count` tokens of every row farthest from what surrounds them, farthest first: from the mean token of the row, or
 * from the mean of the up to nine tokens around. x [tokens, width] -> positions: u32, from each row's `draw` on;
 * `keys`: scratch [tokens], `means`: [rows, width].
 */
export function farthestPositions(pass: Pass, op: Farthest): void {
	const { x, keys, positions, rows, label } = op;
	const table = pass.rows(REDUCE_ROW, rows);
	if (boundWhole(pass.gpu, x)) {
		const all = { first: 0, count: most(rows, ({ tokens }) => tokens) };
		if (op.from === "mean") average(pass, op, { table, rows: rows.length }, all);
		measure(pass, op, { table, rows: rows.length }, all);
	} else for (const [i, row] of rows.entries()) farthestByWindows(pass, op, row, i);
	rankPositions(pass, { keys, positions, rows, table, label });
}

interface Farthest {
	/** Of any length. */
	x: Tensor;
	from: "mean" | "neighbours";
	means: Tensor;
	keys: Tensor;
	positions: Tensor;
	width: number;
	rows: readonly ReduceRow[];
	label: string;
}

/** Rows of the table, the first of which has its mean at row `row` of `means` and its keys `key` further on. */
interface Measured {
	table: Tensor;
	rows: number;
	row?: number;
	key?: number;
}

/** Sums of these tokens of the rows, which become means with the last. */
function average(pass: Pass, { x, means, width, label }: Farthest, { table, rows, row }: Measured, of: Window): void {
	pass.run(averaging, {
		label: `${label}.mean`,
		params: { width4: width / 4, first: of.first, end: of.first + of.count, row },
		bindings: { x, means, rows: table },
		groups: [groups(width / 4), rows],
	});
}

function measure(pass: Pass, op: Farthest, { table, rows, row, key }: Measured, of: Window): void {
	const { x, keys, means, from, width, label } = op;
	pass.run(measuring, {
		label: `${label}.distance`,
		params: { width4: width / 4, first: of.first, end: of.first + of.count, row, key },
		bindings: { x, keys, rows: table, means: from === "mean" ? means : undefined },
		groups: [groups(of.count), rows],
	});
}

/** Windows of one row's tokens, with the lines around where neighbours are asked for. */
function farthestByWindows(pass: Pass, op: Farthest, row: ReduceRow, index: number): void {
	const { x, from, width, label } = op;
	const { token, tokens, columns } = row;
	const own = [[x, width]] as const;
	const around = from === "mean" ? 0 : 2 * columns;
	const held = rowsBound(pass.gpu, own, label) - 2 * around;
	if (held <= 0)
		throw new OutOfMemoryError(
			`${label}: lines of ${columns} tokens are more than this adapter binds. Use another GPU.`,
		);
	const windows = parted(0, tokens, held);
	const over = (run: (op: Farthest, measured: Measured, of: Window) => void) => {
		for (const of of windows) {
			const begin = token + Math.max(0, of.first - around);
			const at = begin % rowStep(own);
			const part = bound(x, width, begin - at, token + Math.min(tokens, of.first + of.count + around));
			// The row begins before the binding, maybe: numbers of 32 bits go round.
			const local = token - (begin - at);
			const table = pass.rows(REDUCE_ROW, [{ ...row, token: local }]);
			run({ ...op, x: part }, { table, rows: 1, row: index, key: token - local }, of);
		}
	};
	if (from === "mean") over((op, measured, of) => average(pass, op, measured, of));
	over((op, measured, of) => measure(pass, op, measured, of));
}
