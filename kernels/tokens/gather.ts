import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { FLAT, flatGroups } from "./rows.ts";

/**
 * y[to + i] = x[index[i]] (+ extra[extraIndex[i]]), rows of `width` floats: embeddings, broadcasts of a row, level
 * embeddings. `index` and `extraIndex` are u32 tensors of `count` entries.
 */
export function gatherRows(
	pass: Pass,
	op: {
		x: Tensor;
		index: Tensor;
		y: Tensor;
		to?: number;
		count: number;
		width: number;
		extra?: { table: Tensor; index: Tensor };
		label: string;
	},
): void {
	const { extra } = op;
	const code = `
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> index: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;
${
	extra
		? `@group(0) @binding(4) var<storage, read> extra: array<vec4f>;
@group(0) @binding(5) var<storage, read> extraIndex: array<u32>;`
		: ""
}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i >= p.x * p.y) { return; }
	let row = i / p.y;
	let c = i % p.y;
	y[p.z * p.y + i] = x[index[row] * p.y + c]${extra ? " + extra[extraIndex[row] * p.y + c]" : ""};
}`;
	const bindings = [op.x, op.index, op.y, ...(extra ? [extra.table, extra.index] : [])];
	pass.run(op.label, code, [op.count, op.width / 4, op.to ?? 0, 0], bindings, flatGroups((op.count * op.width) / 4));
}

/**
 * Copies `count` elements, from element `from` of x to element `to` of y; all three are multiples of 4 (`count` is
 * rounded up). Bit for bit where both are of one type of 4 bytes, converted between f32 and f16.
 */
export function copy(
	pass: Pass,
	op: { x: Tensor; from?: number; y: Tensor; to?: number; count: number; label: string },
): void {
	const half = op.x.dtype === "f16" || op.y.dtype === "f16";
	const type = (tensor: Tensor) => (!half ? "vec4u" : tensor.dtype === "f16" ? "vec4h" : "vec4f");
	const code = `${half ? "enable f16;" : ""}
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> x: array<${type(op.x)}>;
@group(0) @binding(2) var<storage, read_write> y: array<${type(op.y)}>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i < p.x) { y[p.z + i] = ${type(op.y)}(x[p.y + i]); }
}`;
	pass.run(
		op.label,
		code,
		[Math.ceil(op.count / 4), (op.from ?? 0) / 4, (op.to ?? 0) / 4, 0],
		[op.x, op.y],
		flatGroups(Math.ceil(op.count / 4)),
	);
}

/** Copies `count` 32-bit words to word `to` of y. */
export function copyWords(pass: Pass, op: { x: Tensor; y: Tensor; to: number; count: number; label: string }): void {
	const code = `
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i < p.x) { y[p.y + i] = x[i]; }
}`;
	pass.run(op.label, code, [op.count, op.to, 0, 0], [op.x, op.y], flatGroups(op.count));
}

/**
 * y = x - y over `count` floats (a multiple of 4), from `from` of x and `to` of y on: what was added since y was copied
 * from x.
 */
export function subtractFrom(
	pass: Pass,
	op: { x: Tensor; from: number; y: Tensor; to: number; count: number; label: string },
): void {
	const code = `
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i < p.x) { y[p.z + i] = x[p.y + i] - y[p.z + i]; }
}`;
	pass.run(op.label, code, [op.count / 4, op.from / 4, op.to / 4, 0], [op.x, op.y], flatGroups(op.count / 4));
}

/** Channels-last floats in [-1, 1] to packed 8-bit RGBA: x [pixels, channels] -> y u32 [pixels], opaque. */
export function packRgb(
	pass: Pass,
	op: { x: Tensor; y: Tensor; pixels: number; channels: number; label: string },
): void {
	const code = `
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i < p.x) { y[i] = pack4x8unorm(vec4f(clamp(x[i * p.y].rgb, vec3f(-1), vec3f(1)) * 0.5 + 0.5, 1.0)); }
}`;
	pass.run(op.label, code, [op.pixels, op.channels / 4, 0, 0], [op.x, op.y], flatGroups(op.pixels));
}
