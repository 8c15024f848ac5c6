import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { groups, ROW, type RowTable } from "../tokens/rows.ts";
import { total } from "./layer-norm.ts";

export interface ModulatedNorm {
	/** [tokens, width] */
	x: Tensor;
	y: Tensor;
	tokens: number;
	width: number;
	eps: number;
	/** Subtract the mean first: LayerNorm. Else RMS norm (arXiv 1910.07467). */
	centred: boolean;
	/** [width]; 1 and 0 where left out. */
	weight?: Tensor;
	bias?: Tensor;
	/**
	 * [.., stride]: scale and shift from these places of a row on. The row is that of the token's condition; without
	 * `rows`, the token's own.
	 */
	table: Tensor;
	stride: number;
	scale: number;
	shift: number;
	rows?: RowTable;
	label: string;
	/** As in layerNorm. */
	lanes?: 1 | 64;
}

/** y = (norm(x) * weight + bias) * (1 + scale) + shift over the channels of every token. */
export function modulatedNorm(pass: Pass, op: ModulatedNorm): void {
	const {
		x,
		y,
		tokens,
		width,
		eps,
		centred,
		weight,
		bias,
		table,
		stride,
		scale,
		shift,
		rows,
		label,
		lanes = pass.gpu.facts.software ? 1 : 64,
	} = op;
	let binding = 4;
	const bind = (tensor: Tensor | undefined, name: string, type: string) =>
		tensor ? `@group(0) @binding(${binding++}) var<storage, read> ${name}: array<${type}>;` : "";
	const code = `
${ROW}
struct Params { tokens: u32, width4: u32, stride4: u32, scale4: u32, shift4: u32, eps: f32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<storage, read> modulation: array<vec4f>;
${bind(weight, "weight", "vec4f")}
${bind(bias, "bias", "vec4f")}
${bind(rows?.tokenRow, "tokenRow", "u32")}
${bind(rows?.table, "rows", "Row")}
${total(lanes)}
@compute @workgroup_size(64) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32) {
	let t = ${lanes === 1 ? "group.x * 64u + index" : "group.x"};
	let lane = ${lanes === 1 ? "0u" : "index"};
	if (t >= p.tokens) { return; }
	let at = t * p.width4;
	var mean = 0.0;
	${
		centred
			? `var sum = vec4f(0);
	for (var i = lane; i < p.width4; i += ${lanes}u) { sum += x[at + i]; }
	mean = total(sum, lane) / f32(p.width4 * 4u);`
			: ""
	}
	var square = vec4f(0);
	for (var i = lane; i < p.width4; i += ${lanes}u) { let d = x[at + i] - mean; square += d * d; }
	let r = inverseSqrt(total(square, lane) / f32(p.width4 * 4u) + p.eps);
	let m = ${rows ? "rows[tokenRow[t]].cond" : "t"} * p.stride4;
	for (var i = lane; i < p.width4; i += ${lanes}u) {
		let n = (x[at + i] - mean) * r${weight ? " * weight[i]" : ""}${bias ? " + bias[i]" : ""};
		y[at + i] = n * (1.0 + modulation[m + p.scale4 + i]) + modulation[m + p.shift4 + i];
	}
}`;
	const optional = [weight, bias, rows?.tokenRow, rows?.table].filter((tensor) => tensor !== undefined);
	pass.run(
		label,
		code,
		[tokens, width / 4, stride / 4, scale / 4, shift / 4, { f32: eps }, 0, 0],
		[x, y, table, ...optional],
		[groups(tokens * lanes)],
	);
}
