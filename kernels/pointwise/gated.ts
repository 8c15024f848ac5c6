import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { FLAT, flatGroups } from "../tokens/rows.ts";

/** y = silu(x + row) for every token of x [tokens, width]; `row`: one of the table's. */
export function siluOfSum(
	pass: Pass,
	op: { x: Tensor; table: Tensor; row: number; y: Tensor; tokens: number; width: number; label: string },
): void {
	const code = `
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> rows: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i < p.x * p.y) { let v = x[i] + rows[p.z * p.y + i % p.y]; y[i] = v / (1.0 + exp(-v)); }
}`;
	pass.run(
		op.label,
		code,
		[op.tokens, op.width / 4, op.row, 0],
		[op.x, op.table, op.y],
		flatGroups((op.tokens * op.width) / 4),
	);
}

/**
 * y += gate * x over [tokens, width]; a token's gate stands in its row of `gates` [tokens, stride], from float `at` on.
 */
export function addGated(
	pass: Pass,
	op: { x: Tensor; gates: Tensor; stride: number; at: number; y: Tensor; tokens: number; width: number; label: string },
): void {
	const code = `
struct Params { tokens: u32, width4: u32, stride4: u32, at4: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> gates: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i < p.tokens * p.width4) { y[i] += gates[i / p.width4 * p.stride4 + p.at4 + i % p.width4] * x[i]; }
}`;
	pass.run(
		op.label,
		code,
		[op.tokens, op.width / 4, op.stride / 4, op.at / 4],
		[op.x, op.gates, op.y],
		flatGroups((op.tokens * op.width) / 4),
	);
}
