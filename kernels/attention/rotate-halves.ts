import { kernel, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { groups } from "../gpu/workgroups.ts";

const rotating = kernel({
	name: "rotate halves",
	params: { tokens: "u32", heads: "u32", positions: "u32" },
	bindings: { x: write("vec4f"), angles: read("vec4f") },
	code: ({ half4 }: { half4: number }) => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let t = id.x;
	if (t >= p.tokens) { return; }
	let at = (t * p.heads + id.y) * ${2 * half4}u;
	for (var i = 0u; i < ${half4}u; i++) {
		let c = angles[t * ${half4}u + i];
		let s = angles[(p.positions + t) * ${half4}u + i];
		let a = x[at + i];
		let b = x[at + ${half4}u + i];
		x[at + i] = a * c - b * s;
		x[at + ${half4}u + i] = b * c + a * s;
	}
}`,
});

/**
 * Rotary positions of language models (arXiv 2104.09864, as in LLaMA): channel m of a head turns with channel m +
 * headDim / 2 by the token's m-th angle. x [tokens, heads * headDim] in place; `angles` [2, positions, headDim / 2] are
 * cos, then sin, from the first token on.
 */
export function rotateHalves(
	pass: Pass,
	op: { x: Tensor; tokens: number; heads: number; headDim: number; angles: Tensor; label: string },
): void {
	const { x, tokens, heads, headDim, angles, label } = op;
	if (headDim % 8) throw new RangeError(`${label}: head dimension ${headDim} must be a multiple of 8`);
	pass.run(rotating, {
		label,
		options: { half4: headDim / 8 },
		params: { tokens, heads, positions: angles.shape[1] },
		bindings: { x, angles },
		groups: [groups(tokens), heads],
	});
}

/** [2, positions, headDim / 2]: cos and sin of position * theta^(-2m / headDim). */
export function ropeTable(positions: number, headDim: number, theta: number): Float32Array<ArrayBuffer> {
	const half = headDim / 2;
	const frequencies = Array.from({ length: half }, (_, m) => Math.fround(theta ** ((-2 * m) / headDim)));
	const angles = Array.from({ length: positions }, (_, position) =>
		frequencies.map((f) => Math.fround(position * f)),
	).flat();
	return Float32Array.from([...angles.map(Math.cos), ...angles.map(Math.sin)]);
}
