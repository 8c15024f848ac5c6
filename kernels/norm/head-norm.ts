import { kernel, optional, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { boundWhole, byWindows } from "../gpu/windows.ts";
import { groups } from "../gpu/workgroups.ts";

const normalising = kernel({
	name: "head norm",
	params: { tokens: "u32", stride4: "u32", headDim4: "u32" },
	bindings: { x: write("vec4f"), scaleMul: optional(read("f32")) },
	code: (_, { scaleMul }) => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.tokens) { return; }
	let at = id.x * p.stride4 + id.y * p.headDim4;
	var square = vec4f(0);
	for (var i = 0u; i < p.headDim4; i++) { square += x[at + i] * x[at + i]; }
	let length = max(sqrt(dot(square, vec4f(1))), 1e-12);
	let scale = ${scaleMul ? "exp(min(scaleMul[id.y], 4.605170185988092))" : "1.0"} / length;
	for (var i = 0u; i < p.headDim4; i++) { x[at + i] *= scale; }
}`,
});

/**
 * L2-normalises the first heads * headDim floats of every token of x [tokens, stride], of any length, in place and by
 * head; with `scaleMul` [heads] times exp(min(scaleMul, ln 100)): queries and keys of cosine attention that is not
 * rotated.
 */
export function normaliseHeads(
	pass: Pass,
	op: { x: Tensor; stride: number; tokens: number; heads: number; headDim: number; scaleMul?: Tensor; label: string },
): void {
	const { x, stride, tokens, heads, headDim, scaleMul, label } = op;
	const run = (x: Tensor, tokens: number) =>
		pass.run(normalising, {
			label,
			params: { tokens, stride4: stride / 4, headDim4: headDim / 4 },
			bindings: { x, scaleMul },
			groups: [groups(tokens), heads],
		});
	if (boundWhole(pass.gpu, x)) run(x, tokens);
	else byWindows(pass.gpu, { first: 0, count: tokens }, [[x, stride]], label, ([x], { count }) => run(x, count));
}
