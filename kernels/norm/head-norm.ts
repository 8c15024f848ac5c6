import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { groups } from "../tokens/rows.ts";

/**
 * L2-normalises the first heads * headDim floats of every token of x [tokens, stride], in place and by head; with
 * `scaleMul` [heads] times exp(min(scaleMul, ln 100)): queries and keys of cosine attention that is not rotated.
 */
export function normaliseHeads(
	pass: Pass,
	op: { x: Tensor; stride: number; tokens: number; heads: number; headDim: number; scaleMul?: Tensor; label: string },
): void {
	const { x, stride, tokens, heads, headDim, scaleMul } = op;
	const code = `
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read_write> x: array<vec4f>;
${scaleMul ? "@group(0) @binding(2) var<storage, read> scaleMul: array<f32>;" : ""}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.x) { return; }
	let at = id.x * p.y + id.y * p.z;
	var square = vec4f(0);
	for (var i = 0u; i < p.z; i++) { square += x[at + i] * x[at + i]; }
	let scale = ${scaleMul ? "exp(min(scaleMul[id.y], 4.605170185988092))" : "1.0"} / max(sqrt(dot(square, vec4f(1))), 1e-12);
	for (var i = 0u; i < p.z; i++) { x[at + i] *= scale; }
}`;
	pass.run(op.label, code, [tokens, stride / 4, headDim / 4, 0], scaleMul ? [x, scaleMul] : [x], [
		groups(tokens),
		heads,
	]);
}
