import { kernel, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { boundWhole, byWindows } from "../gpu/windows.ts";
import { groups } from "../gpu/workgroups.ts";
import { type Lanes, laneGroups, lanesOf, main, total } from "./lanes.ts";

interface LayerNorm {
	/** [tokens, width], of any length. */
	x: Tensor;
	y: Tensor;
	tokens: number;
	width: number;
	eps: number;
	/** [width] */
	weight: Tensor;
	bias: Tensor;
	label: string;
	/** For tests; by default those of the adapter. */
	lanes?: Lanes;
}

const centring = kernel({
	name: "layer norm",
	params: { tokens: "u32", width4: "u32", eps: "f32" },
	bindings: { x: read("vec4f"), y: write("vec4f"), weight: read("vec4f"), bias: read("vec4f") },
	code: ({ lanes }: { lanes: Lanes }) => `${total(lanes)}${main(lanes)}
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
}`,
});

/** y = (x - mean) / sqrt(variance + eps) * weight + bias, over the channels of every token. */
export function layerNorm(pass: Pass, op: LayerNorm): void {
	const { width, eps, weight, bias, label, lanes = lanesOf(pass.gpu) } = op;
	byTokens(pass, op, (x, y, tokens) =>
		pass.run(centring, {
			label,
			options: { lanes },
			params: { tokens, width4: width / 4, eps },
			bindings: { x, y, weight, bias },
			groups: laneGroups(tokens, lanes),
		}),
	);
}

/** As many tokens at a time as bindings hold. */
function byTokens(
	{ gpu }: Pass,
	{ x, y, tokens, width, label }: Pick<LayerNorm, "x" | "y" | "tokens" | "width" | "label">,
	run: (x: Tensor, y: Tensor, tokens: number) => void,
): void {
	if (boundWhole(gpu, x, y)) run(x, y, tokens);
	else
		byWindows(
			gpu,
			{ first: 0, count: tokens },
			[
				[x, width],
				[y, width],
			],
			label,
			([x, y], { count }) => run(x, y, count),
		);
}

const scaling = kernel({
	name: "rms norm",
	params: { tokens: "u32", width4: "u32", eps: "f32" },
	bindings: { x: read("vec4f"), y: write("vec4f"), weight: read("vec4f") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.tokens) { return; }
	let at = id.x * p.width4;
	var square = vec4f(0);
	for (var i = 0u; i < p.width4; i++) { square += x[at + i] * x[at + i]; }
	let r = inverseSqrt(dot(square, vec4f(1)) / f32(p.width4 * 4u) + p.eps);
	for (var i = 0u; i < p.width4; i++) { y[at + i] = x[at + i] * r * weight[i]; }
}`,
});

/** y = x * rsqrt(mean(x^2) + eps) * weight, over [tokens, width] of any length (arXiv 1910.07467). */
export function rmsNorm(
	pass: Pass,
	op: { x: Tensor; y: Tensor; weight: Tensor; tokens: number; width: number; eps: number; label: string },
): void {
	const { weight, width, eps, label } = op;
	byTokens(pass, op, (x, y, tokens) =>
		pass.run(scaling, {
			label,
			params: { tokens, width4: width / 4, eps },
			bindings: { x, y, weight },
			groups: [groups(tokens)],
		}),
	);
}
