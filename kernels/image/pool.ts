import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { groups } from "../tokens/rows.ts";

/** y[i] = the mean, or by channel the greatest, of the rows of x [.., width] that `of[i]` names. */
export function poolRows(
	pass: Pass,
	op: { x: Tensor; y: Tensor; how: "mean" | "max"; width: number; of: readonly (readonly number[])[]; label: string },
): void {
	const mean = op.how === "mean";
	const code = `
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<storage, read> ranges: array<vec2u>;
@group(0) @binding(4) var<storage, read> index: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.x) { return; }
	let range = ranges[id.y];
	var pooled = ${mean ? "vec4f(0)" : "x[index[range.x] * p.x + id.x]"};
	for (var i = 0u; i < range.y; i++) {
		let row = x[index[range.x + i] * p.x + id.x];
		pooled = ${mean ? "pooled + row" : "max(pooled, row)"};
	}
	y[id.y * p.x + id.x] = pooled${mean ? " / f32(max(range.y, 1u))" : ""};
}`;
	let at = 0;
	const ranges = op.of.flatMap((rows) => [(at += rows.length) - rows.length, rows.length]);
	pass.run(
		op.label,
		code,
		[op.width / 4, 0, 0, 0],
		[op.x, op.y, pass.table(ranges), pass.table(op.of.flat())],
		[groups(op.width / 4), op.of.length],
	);
}
