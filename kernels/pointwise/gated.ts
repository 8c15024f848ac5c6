import { kernel, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { boundWhole, byWindows } from "../gpu/windows.ts";
import { FLAT, flatGroups } from "../gpu/workgroups.ts";

const activating = kernel({
	name: "silu of sum",
	params: { tokens: "u32", width4: "u32", row: "u32" },
	bindings: { x: read("vec4f"), rows: read("vec4f"), y: write("vec4f") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i < p.tokens * p.width4) {
		let v = x[i] + rows[p.row * p.width4 + i % p.width4];
		y[i] = v / (1.0 + exp(-v));
	}
}`,
});

/** y = silu(x + row) for every token of x [tokens, width]; `row`: one of the table's. */
export function siluOfSum(
	pass: Pass,
	op: { x: Tensor; table: Tensor; row: number; y: Tensor; tokens: number; width: number; label: string },
): void {
	const { x, table, row, y, tokens, width, label } = op;
	const run = (x: Tensor, y: Tensor, tokens: number) =>
		pass.run(activating, {
			label,
			params: { tokens, width4: width / 4, row },
			bindings: { x, rows: table, y },
			groups: flatGroups((tokens * width) / 4),
		});
	if (boundWhole(pass.gpu, x, y)) run(x, y, tokens);
	else
		byWindows(
			pass.gpu,
			{ first: 0, count: tokens },
			[
				[x, width],
				[y, width],
			],
			label,
			([x, y], { count }) => run(x, y, count),
		);
}

const adding = kernel({
	name: "add gated",
	params: { tokens: "u32", width4: "u32", stride4: "u32", at4: "u32" },
	bindings: { x: read("vec4f"), gates: read("vec4f"), y: write("vec4f") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i < p.tokens * p.width4) { y[i] += gates[i / p.width4 * p.stride4 + p.at4 + i % p.width4] * x[i]; }
}`,
});

/**
 * y += gate * x over [tokens, width]; a token's gate stands in its row of `gates` [tokens, stride], from float `at` on.
 */
export function addGated(
	pass: Pass,
	op: { x: Tensor; gates: Tensor; stride: number; at: number; y: Tensor; tokens: number; width: number; label: string },
): void {
	const { x, gates, stride, at, y, tokens, width, label } = op;
	const run = (x: Tensor, gates: Tensor, y: Tensor, tokens: number) =>
		pass.run(adding, {
			label,
			params: { tokens, width4: width / 4, stride4: stride / 4, at4: at / 4 },
			bindings: { x, gates, y },
			groups: flatGroups((tokens * width) / 4),
		});
	if (boundWhole(pass.gpu, x, gates, y)) run(x, gates, y, tokens);
	else {
		const rows = [
			[x, width],
			[gates, stride],
			[y, width],
		] as const;
		byWindows(pass.gpu, { first: 0, count: tokens }, rows, label, ([x, gates, y], { count }) =>
			run(x, gates, y, count),
		);
	}
}
