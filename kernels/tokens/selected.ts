/** The tokens that a reduction keeps, to and from their places. */
import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { most, REDUCE_ROW, type ReduceRow, reduceTable } from "./project.ts";
import { groups } from "./rows.ts";

interface Move {
	/** Rows of `width` floats. */
	x: Tensor;
	y: Tensor;
	/** u32 */
	positions: Tensor;
	width: number;
	rows: readonly ReduceRow[];
	label: string;
}

/** y[out + k] = x[token + positions[draw + k]] by row: kept tokens one after the other. */
export function gatherKept(pass: Pass, op: Move): void {
	move(pass, op, "y[(row.out + k) * p.x + c] = x[(row.token + positions[row.draw + k]) * p.x + c];");
}

/** y[token + positions[draw + k]] = x[out + k] by row: kept tokens back to where they stand for. */
export function scatterRows(pass: Pass, op: Move): void {
	move(pass, op, "y[(row.token + positions[row.draw + k]) * p.x + c] = x[(row.out + k) * p.x + c];");
}

function move(pass: Pass, op: Move, statement: string): void {
	const code = `
${REDUCE_ROW}
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> positions: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(4) var<storage, read> rows: array<ReduceRow>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.y];
	if (id.x >= row.count * p.x) { return; }
	let k = id.x / p.x;
	let c = id.x % p.x;
	${statement}
}`;
	pass.run(
		op.label,
		code,
		[op.width / 4, 0, 0, 0],
		[op.x, op.positions, op.y, reduceTable(pass, op.rows)],
		[groups(most(op.rows, (r) => (r.count * op.width) / 4)), op.rows.length],
	);
}

interface Keep {
	/** [.., words] of u32 or f32. */
	x: Tensor;
	positions: Tensor;
	words: number;
	rows: readonly ReduceRow[];
	label: string;
}

/**
 * What was made for kept tokens alone, at the full length, zeros between: x [.., words] from token `out` on -> from
 * token `token` on, of one tensor of u32; a row's two ranges do not meet.
 */
export function spreadKept(pass: Pass, op: Keep): void {
	keptOrNot(
		pass,
		op,
		"for (var w = 0u; w < p.x; w++) { x[(row.token + id.x) * p.x + w] = select(0u, x[(row.out + min(k, row.count - 1u)) * p.x + w], k < row.count); }",
	);
}

/** x = 0 for all tokens but the kept ones, [tokens, words] of u32 or f32. */
export function clearOthers(pass: Pass, op: Keep): void {
	keptOrNot(
		pass,
		op,
		"if (k == row.count) { for (var w = 0u; w < p.x; w++) { x[(row.token + id.x) * p.x + w] = 0u; } }",
	);
}

/** `k`: the place of a token among the kept ones, `count` for the others. */
function keptOrNot(pass: Pass, op: Keep, statement: string): void {
	const code = `
${REDUCE_ROW}
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read_write> x: array<u32>;
@group(0) @binding(2) var<storage, read> positions: array<u32>;
@group(0) @binding(3) var<storage, read> rows: array<ReduceRow>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.y];
	if (id.x >= row.tokens) { return; }
	var k = 0u;
	while (k < row.count && positions[row.draw + k] != id.x) { k++; }
	${statement}
}`;
	pass.run(
		op.label,
		code,
		[op.words, 0, 0, 0],
		[op.x, op.positions, reduceTable(pass, op.rows)],
		[groups(most(op.rows, (r) => r.tokens)), op.rows.length],
	);
}
