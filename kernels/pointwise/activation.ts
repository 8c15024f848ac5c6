import { kernel, optional, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { boundWhole, byWindows } from "../gpu/windows.ts";
import { FLAT, flatGroups } from "../gpu/workgroups.ts";

/** `gelu`: with the error function; `gelu-tanh`: the form that approximates it; `quick-gelu`: x * sigmoid(1.702 x). */
export type Activation = "gelu" | "gelu-tanh" | "quick-gelu" | "silu";

/** WGSL `gelu`, in the tanh form. */
export const GELU = `fn gelu(x: vec4f) -> vec4f {
	let u = 0.7978845608028654 * (x + 0.044715 * x * x * x);
	return 0.5 * x * (1.0 + tanh(clamp(u, vec4f(-15), vec4f(15))));
}`;

const FORMS: Record<Activation, string> = {
	// erf to 1.5e-7: Abramowitz and Stegun, 7.1.26.
	gelu: `fn act(x: vec4f) -> vec4f {
	let z = abs(x) * 0.7071067811865476;
	let t = 1.0 / (1.0 + 0.3275911 * z);
	let tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
		* exp(-z * z);
	return 0.5 * x * (1.0 + sign(x) * (1.0 - tail));
}`,
	"gelu-tanh": `${GELU}
fn act(x: vec4f) -> vec4f { return gelu(x); }`,
	"quick-gelu": "fn act(x: vec4f) -> vec4f { return x / (1.0 + exp(-1.702 * x)); }",
	silu: "fn act(x: vec4f) -> vec4f { return x / (1.0 + exp(-x)); }",
};

const activating = kernel({
	name: "activation",
	params: { count4: "u32" },
	bindings: { x: write("vec4f"), gated: optional(read("vec4f")) },
	code: ({ how }: { how: Activation }, { gated }) => `${FORMS[how]}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i < p.count4) { x[i] = act(x[i])${gated ? " * gated[i]" : ""}; }
}`,
});

/**
 * x = act(x), over `count` floats (a multiple of 4, of tensors of any length), times `gated` where there is one: the
 * gate of a GLU (arXiv 2002.05202) and what it lets through.
 */
export function activate(
	pass: Pass,
	op: { x: Tensor; gated?: Tensor; count: number; how: Activation; label: string },
): void {
	const { x, gated, count, how, label } = op;
	const run = (x: Tensor, gated: Tensor | undefined, count: number) =>
		pass.run(activating, {
			label,
			options: { how },
			params: { count4: count / 4 },
			bindings: { x, gated },
			groups: flatGroups(count / 4),
		});
	if (boundWhole(pass.gpu, x, gated)) run(x, gated, count);
	else byFloats(pass, count, gated ? [x, gated] : [x], label, ([x, gated], count) => run(x, gated, count));
}

/** As many floats at a time as bindings hold. */
const byFloats = (
	{ gpu }: Pass,
	count: number,
	tensors: readonly Tensor[],
	label: string,
	run: (parts: readonly Tensor[], count: number) => void,
): void =>
	byWindows(
		gpu,
		{ first: 0, count },
		tensors.map((tensor) => [tensor, 1] as const),
		label,
		(parts, { count }) => run(parts, count),
	);

const sigmoidLinear = kernel({
	name: "silu",
	params: { count4: "u32" },
	bindings: { x: read("vec4f"), y: write("vec4f") },
	code: () => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i < p.count4) { let v = x[i]; y[i] = v / (1.0 + exp(-v)); }
}`,
});

/** y = silu(x) over `count` floats (a multiple of 4, of tensors of any length). */
export function silu(pass: Pass, op: { x: Tensor; y: Tensor; count: number; label: string }): void {
	const { x, y, count, label } = op;
	const run = (x: Tensor, y: Tensor, count: number) =>
		pass.run(sigmoidLinear, {
			label,
			params: { count4: count / 4 },
			bindings: { x, y },
			groups: flatGroups(count / 4),
		});
	if (boundWhole(pass.gpu, x, y)) run(x, y, count);
	else byFloats(pass, count, [x, y], label, ([x, y], count) => run(x, y, count));
}
