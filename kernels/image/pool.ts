import { kernel, read, struct, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { groups } from "../gpu/workgroups.ts";

const RANGE = struct("Range", { first: "u32", count: "u32" });

const pooling = kernel({
	name: "pool rows",
	params: { width4: "u32" },
	bindings: { x: read("vec4f"), y: write("vec4f"), ranges: read(RANGE), index: read("u32") },
	code: ({ mean }: { mean: boolean }) => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.width4) { return; }
	let range = ranges[id.y];
	var pooled = ${mean ? "vec4f(0)" : "x[index[range.first] * p.width4 + id.x]"};
	for (var i = 0u; i < range.count; i++) {
		let row = x[index[range.first + i] * p.width4 + id.x];
		pooled = ${mean ? "pooled + row" : "max(pooled, row)"};
	}
	y[id.y * p.width4 + id.x] = pooled${mean ? " / f32(max(range.count, 1u))" : ""};
}`,
});

/** y[i] = the mean, or by channel the greatest, of the rows of x [.., width] that `of[i]` names. */
export function poolRows(
	pass: Pass,
	op: { x: Tensor; y: Tensor; how: "mean" | "max"; width: number; of: readonly (readonly number[])[]; label: string },
): void {
	const { x, y, how, width, of, label } = op;
	let at = 0;
	const ranges = of.map(({ length: count }) => ({ first: (at += count) - count, count }));
	pass.run(pooling, {
		label,
		options: { mean: how === "mean" },
		params: { width4: width / 4 },
		bindings: { x, y, ranges: pass.rows(RANGE, ranges), index: pass.table(of.flat()) },
		groups: [groups(width / 4), of.length],
	});
}
