import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { memo } from "../gpu/variants.ts";
import { GELU } from "../matmul/matmul.ts";
import { FLAT, flatGroups } from "../tokens/rows.ts";

/** `gelu`: with the error function; `gelu-tanh`: the form that approximates it; `quick-gelu`: x * sigmoid(1.702 x). */
export type Activation = "gelu" | "gelu-tanh" | "quick-gelu" | "silu";

/**
 * x = act(x), over `count` floats (a multiple of 4), times `gated` where there is one: the gate of a GLU (arXiv
 * 2002.05202) and what it lets through.
 */
export function activate(
	pass: Pass,
	op: { x: Tensor; gated?: Tensor; count: number; how: Activation; label: string },
): void {
	const bindings = op.gated ? [op.x, op.gated] : [op.x];
	pass.run(
		op.label,
		activationCode(op.how, op.gated !== undefined),
		[op.count / 4, 0, 0, 0],
		bindings,
		flatGroups(op.count / 4),
	);
}

/** y = silu(x) over `count` floats (a multiple of 4). */
export function silu(pass: Pass, op: { x: Tensor; y: Tensor; count: number; label: string }): void {
	const code = `
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i < p.x) { let v = x[i]; y[i] = v / (1.0 + exp(-v)); }
}`;
	pass.run(op.label, code, [op.count / 4, 0, 0, 0], [op.x, op.y], flatGroups(op.count / 4));
}

const activationCode = memo(
	(how: Activation, gated: boolean): string => `${FORMS[how]}
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read_write> x: array<vec4f>;
${gated ? "@group(0) @binding(2) var<storage, read> gated: array<vec4f>;" : ""}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i < p.x) { x[i] = act(x[i])${gated ? " * gated[i]" : ""}; }
}`,
);

const FORMS: Record<Activation, string> = {
	// erf to 1.5e-7: Abramowitz and Stegun, 7.1.26.
	gelu: `fn act(x: vec4f) -> vec4f {
	let z = abs(x) * 0.7071067811865476;
	let t = 1.0 / (1.0 + 0.3275911 * z);
	let tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) * exp(-z * z);
	return 0.5 * x * (1.0 + sign(x) * (1.0 - tail));
}`,
	"gelu-tanh": `${GELU}
fn act(x: vec4f) -> vec4f { return gelu(x); }`,
	"quick-gelu": "fn act(x: vec4f) -> vec4f { return x / (1.0 + exp(-1.702 * x)); }",
	silu: "fn act(x: vec4f) -> vec4f { return x / (1.0 + exp(-x)); }",
};
