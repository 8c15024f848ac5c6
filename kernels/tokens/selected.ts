/** The tokens that a reduction selects, to and from their places. */

import { kernel, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import { elements, type Tensor } from "../gpu/tensor.ts";
import { bound, boundWhole, windowsOf } from "../gpu/windows.ts";
import { FLAT, flatGroups, groups } from "../gpu/workgroups.ts";
import { most, REDUCE_ROW, type ReduceRow } from "./project.ts";

interface Move {
	/** Rows of `width` floats, any number of them. */
	x: Tensor;
	y: Tensor;
	/** u32 */
	positions: Tensor;
	width: number;
	rows: readonly ReduceRow[];
	label: string;
}

const PLACES = {
	gather: { from: "row.token + positions[row.draw + k]", to: "row.out + k" },
	scatter: { from: "row.out + k", to: "row.token + positions[row.draw + k]" },
};

const moving = kernel({
	name: "move selected",
	params: { width4: "u32", xFirst: "u32?", xRows: "u32?", yFirst: "u32?", yRows: "u32?" },
	bindings: { x: read("vec4f"), positions: read("u32"), y: write("vec4f"), rows: read(REDUCE_ROW) },
	code: ({ how, part }: { how: keyof typeof PLACES; part: boolean }) => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.z];
	let i = ${FLAT};
	if (i >= row.count * p.width4) { return; }
	let k = i / p.width4;
	let c = i % p.width4;
	let source = ${PLACES[how].from} - p.xFirst;
	let place = ${PLACES[how].to} - p.yFirst;
	${part ? "if (source >= p.xRows || place >= p.yRows) { return; }" : ""}
	y[place * p.width4 + c] = x[source * p.width4 + c];
}`,
});

/** y[out + k] = x[token + positions[draw + k]] by row: selected tokens one after the other. */
export const gatherSelected = (pass: Pass, op: Move): void => move(pass, op, "gather");

/** y[token + positions[draw + k]] = x[out + k] by row: selected tokens back to where they stand for. */
export const scatterRows = (pass: Pass, op: Move): void => move(pass, op, "scatter");

function move(pass: Pass, { x, y, positions, width, rows, label }: Move, how: keyof typeof PLACES): void {
	const { gpu } = pass;
	const table = pass.rows(REDUCE_ROW, rows);
	const run = (x: Tensor, y: Tensor, part?: { xFirst: number; xRows: number; yFirst: number; yRows: number }) =>
		pass.run(moving, {
			label,
			options: { how, part: part !== undefined },
			params: { width4: width / 4, ...part },
			bindings: { x, positions, y, rows: table },
			groups: [...flatGroups(most(rows, ({ count }) => (count * width) / 4)), rows.length],
		});
	if (boundWhole(gpu, x, y)) {
		run(x, y);
		return;
	}
	// Where a row lies is the device's to know: each window of one is met with each of the other.
	const windows = (tensor: Tensor) =>
		windowsOf(gpu, { first: 0, count: Math.floor(elements(tensor.shape) / width) }, [[tensor, width]], label);
	for (const { first: xFirst, count: xRows } of windows(x))
		for (const { first: yFirst, count: yRows } of windows(y))
			run(bound(x, width, xFirst, xFirst + xRows), bound(y, width, yFirst, yFirst + yRows), {
				xFirst,
				xRows,
				yFirst,
				yRows,
			});
}

interface Words {
	/** [.., words] of u32 or f32. */
	x: Tensor;
	positions: Tensor;
	words: number;
	rows: readonly ReduceRow[];
	label: string;
}

const CHANGES = {
	spread: `for (var w = 0u; w < p.words; w++) {
		let selected = x[(row.out + min(k, row.count - 1u)) * p.words + w];
		x[(row.token + id.x) * p.words + w] = select(0u, selected, k < row.count);
	}`,
	clear: "if (k == row.count) { for (var w = 0u; w < p.words; w++) { x[(row.token + id.x) * p.words + w] = 0u; } }",
};

const changing = kernel({
	name: "change by selection",
	params: { words: "u32" },
	bindings: { x: write("u32"), positions: read("u32"), rows: read(REDUCE_ROW) },
	// k: the place of a token among the selected ones, `count` for the others.
	code: ({ how }: { how: keyof typeof CHANGES }) => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.y];
	if (id.x >= row.tokens) { return; }
	var k = 0u;
	while (k < row.count && positions[row.draw + k] != id.x) { k++; }
	${CHANGES[how]}
}`,
});

/**
 * What was made for selected tokens alone, at the full length, zeros between: x [.., words] from token `out` on -> from
 * token `token` on, of one tensor of u32; a row's two ranges do not meet.
 */
export const spreadSelected = (pass: Pass, op: Words): void => change(pass, op, "spread");

/** x = 0 for all tokens but the selected ones, [tokens, words] of u32 or f32. */
export const clearOthers = (pass: Pass, op: Words): void => change(pass, op, "clear");

function change(pass: Pass, { x, positions, words, rows, label }: Words, how: keyof typeof CHANGES): void {
	pass.run(changing, {
		label,
		options: { how },
		params: { words },
		bindings: { x, positions, rows: pass.rows(REDUCE_ROW, rows) },
		groups: [groups(most(rows, ({ tokens }) => tokens)), rows.length],
	});
}
