import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { groups } from "../tokens/rows.ts";
import { PHILOX, PURPOSE } from "./random.ts";

/**
 * y [tokens, channels], from token `to` on, = N(0, 1) (Box and Muller over Philox), by seed, stream, step, token and
 * channel.
 */
export function drawNormals(
	pass: Pass,
	op: {
		y: Tensor;
		to: number;
		tokens: number;
		channels: number;
		seed: number;
		stream: number;
		step: number;
		label: string;
	},
): void {
	const code = `
${PHILOX}
struct Params { tokens: u32, channels4: u32, to: u32, seed: u32, stream: u32, step: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.tokens * p.channels4) { return; }
	let u = uniform4(philox(vec4u(id.x / p.channels4, id.x % p.channels4, p.step, ${PURPOSE.noise}u), vec2u(p.seed, p.stream)));
	let r = sqrt(-2.0 * log(u.xz));
	let a = 6.283185307179586 * u.yw;
	y[p.to * p.channels4 + id.x] = vec4f(r.x * cos(a.x), r.x * sin(a.x), r.y * cos(a.y), r.y * sin(a.y));
}`;
	pass.run(
		op.label,
		code,
		[op.tokens, op.channels / 4, op.to, op.seed, op.stream, op.step, 0, 0],
		[op.y],
		[groups((op.tokens * op.channels) / 4)],
	);
}

/** Constants of one step back in time of a denoising diffusion (arXiv 2102.09672). */
export interface Denoising {
	/** x0 = `ofX` * x - `ofNoise` * noise, clamped to [-1, 1]. */
	ofX: number;
	ofNoise: number;
	/** Mean of the earlier x: `meanOfStart` * x0 + `meanOfX` * x. */
	meanOfStart: number;
	meanOfX: number;
	/** Between which the log variance lies. */
	leastLog: number;
	mostLog: number;
	/** 0 at the last step, which adds no noise; else 1. */
	noise: number;
	/** What the result is multiplied by. */
	times: number;
}

/**
 * One step for `tokens` tokens of a conditional and, with `rows` 2, as many of an unconditional row after them. `out`
 * [rows * tokens, 2 * channels] is the network's: noise, then the log variance as a share, in [-1, 1]. The noise is
 * guided, (1 + t) c - t u, in place; `x` [rows * tokens, channels] becomes the earlier x, and `input`, which the
 * network reads next, the conditional one, for every row.
 */
export function denoise(
	pass: Pass,
	op: {
		out: Tensor;
		x: Tensor;
		noise: Tensor;
		input: Tensor;
		tokens: number;
		rows: number;
		channels: number;
		guidance: number;
		step: Denoising;
		label: string;
	},
): void {
	const code = `
struct Params {
	tokens: u32, rows: u32, channels4: u32, guidance: f32,
	ofX: f32, ofNoise: f32, meanOfStart: f32, meanOfX: f32,
	leastLog: f32, mostLog: f32, noise: f32, times: f32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read_write> out: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> x: array<vec4f>;
@group(0) @binding(3) var<storage, read> noise: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> input: array<vec4f>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.tokens * p.channels4) { return; }
	let all = p.tokens * p.channels4;
	let predicted = id.x / p.channels4 * 2u * p.channels4 + id.x % p.channels4;
	var eps = out[predicted];
	if (p.rows == 2u) { eps = (1.0 + p.guidance) * eps - p.guidance * out[predicted + 2u * all]; }
	for (var row = 0u; row < p.rows; row++) {
		out[predicted + 2u * row * all] = eps;
		let share = (out[predicted + 2u * row * all + p.channels4] + 1.0) / 2.0;
		let at = row * all + id.x;
		let before = x[at];
		let start = clamp(p.ofX * before - p.ofNoise * eps, vec4f(-1), vec4f(1));
		let deviation = exp(0.5 * (share * p.mostLog + (1.0 - share) * p.leastLog));
		var after = p.meanOfStart * start + p.meanOfX * before;
		if (p.noise > 0.0) { after += p.noise * deviation * noise[at]; }
		x[at] = p.times * after;
	}
	for (var row = 0u; row < p.rows; row++) { input[row * all + id.x] = x[id.x]; }
}`;
	const { ofX, ofNoise, meanOfStart, meanOfX, leastLog, mostLog, noise, times } = op.step;
	const floats = [ofX, ofNoise, meanOfStart, meanOfX, leastLog, mostLog, noise, times].map((f32) => ({ f32 }));
	pass.run(
		op.label,
		code,
		[op.tokens, op.rows, op.channels / 4, { f32: op.guidance }, ...floats],
		[op.out, op.x, op.noise, op.input],
		[groups((op.tokens * op.channels) / 4)],
	);
}
