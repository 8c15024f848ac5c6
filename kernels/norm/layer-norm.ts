import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { groups } from "../tokens/rows.ts";

export interface LayerNorm {
	/** [tokens, width] */
	x: Tensor;
	y: Tensor;
	tokens: number;
	width: number;
	eps: number;
	/** [width] */
	weight: Tensor;
	bias: Tensor;
	label: string;
	/**
	 * Invocations that share a token: 64 on a GPU, where there are more of them than tokens, 1 where a few lanes are all
	 * there is. The order of the sum follows from it, so it hangs on the adapter alone.
	 */
	lanes?: 1 | 64;
}

/** y = (x - mean) / sqrt(variance + eps) * weight + bias, over the channels of every token. */
export function layerNorm(
	pass: Pass,
	{ x, y, tokens, width, eps, weight, bias, label, lanes = pass.gpu.facts.software ? 1 : 64 }: LayerNorm,
): void {
	const code = `
struct Params { tokens: u32, width4: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<storage, read> weight: array<vec4f>;
@group(0) @binding(4) var<storage, read> bias: array<vec4f>;
${total(lanes)}
@compute @workgroup_size(64) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32) {
	let t = ${lanes === 1 ? "group.x * 64u + index" : "group.x"};
	let lane = ${lanes === 1 ? "0u" : "index"};
	if (t >= p.tokens) { return; }
	let at = t * p.width4;
	var sum = vec4f(0);
	for (var i = lane; i < p.width4; i += ${lanes}u) { sum += x[at + i]; }
	let mean = total(sum, lane) / f32(p.width4 * 4u);
	var square = vec4f(0);
	for (var i = lane; i < p.width4; i += ${lanes}u) { let d = x[at + i] - mean; square += d * d; }
	let r = inverseSqrt(total(square, lane) / f32(p.width4 * 4u) + p.eps);
	for (var i = lane; i < p.width4; i += ${lanes}u) {
		let n = (x[at + i] - mean) * r;
		y[at + i] = n * weight[i] + bias[i];
	}
}`;
	pass.run(label, code, [tokens, width / 4, { f32: eps }, 0], [x, y, weight, bias], [groups(tokens * lanes)]);
}

/** WGSL `total(part, lane)`: the sum over the lanes that share a token, in the order of a tree. */
export const total = (lanes: 1 | 64): string =>
	lanes === 1 ? "fn total(part: vec4f, lane: u32) -> f32 { return dot(part, vec4f(1)); }" : TREE;

const TREE = `
var<workgroup> parts: array<f32, 64>;
fn total(part: vec4f, lane: u32) -> f32 {
	parts[lane] = dot(part, vec4f(1));
	workgroupBarrier();
	for (var step = 32u; step > 0u; step >>= 1u) {
		if (lane < step) { parts[lane] += parts[lane + step]; }
		workgroupBarrier();
	}
	return workgroupUniformLoad(&parts[0]);
}`;

/** y = x * rsqrt(mean(x^2) + eps) * weight, over [tokens, width]. */
export function rmsNorm(
	pass: Pass,
	op: { x: Tensor; y: Tensor; weight: Tensor; tokens: number; width: number; eps: number; label: string },
): void {
	const code = `
struct Params { tokens: u32, width4: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<storage, read> weight: array<vec4f>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.tokens) { return; }
	let at = id.x * p.width4;
	var square = vec4f(0);
	for (var i = 0u; i < p.width4; i++) { square += x[at + i] * x[at + i]; }
	let r = inverseSqrt(dot(square, vec4f(1)) / f32(p.width4 * 4u) + p.eps);
	for (var i = 0u; i < p.width4; i++) { y[at + i] = x[at + i] * r * weight[i]; }
}`;
	pass.run(op.label, code, [op.tokens, op.width / 4, { f32: op.eps }, 0], [op.x, op.y, op.weight], [groups(op.tokens)]);
}
