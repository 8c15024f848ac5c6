import { kernel, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { groups } from "../gpu/workgroups.ts";
import { PHILOX, PURPOSE } from "./random.ts";

const drawing = kernel({
	name: "draw normals",
	params: { tokens: "u32", channels4: "u32", to: "u32", seed: "u32", stream: "u32", step: "u32" },
	bindings: { y: write("vec4f") },
	code: () => `${PHILOX}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.tokens * p.channels4) { return; }
	let counter = vec4u(id.x / p.channels4, id.x % p.channels4, p.step, ${PURPOSE.noise}u);
	let u = uniform4(philox(counter, vec2u(p.seed, p.stream)));
	let r = sqrt(-2.0 * log(u.xz));
	let a = 6.283185307179586 * u.yw;
	y[p.to * p.channels4 + id.x] = vec4f(r.x * cos(a.x), r.x * sin(a.x), r.y * cos(a.y), r.y * sin(a.y));
}`,
});

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
	const { y, to, tokens, channels, seed, stream, step, label } = op;
	pass.run(drawing, {
		label,
		params: { tokens, channels4: channels / 4, to, seed, stream, step },
		bindings: { y },
		groups: [groups((tokens * channels) / 4)],
	});
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

const denoising = kernel({
	name: "denoise",
	params: {
		tokens: "u32",
		rows: "u32",
		channels4: "u32",
		guidance: "f32",
		ofX: "f32",
		ofNoise: "f32",
		meanOfStart: "f32",
		meanOfX: "f32",
		leastLog: "f32",
		mostLog: "f32",
		noise: "f32",
		times: "f32",
	},
	bindings: { out: write("vec4f"), x: write("vec4f"), noise: read("vec4f"), input: write("vec4f") },
	code: () => `
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
}`,
});

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
	const { out, x, noise, input, tokens, rows, channels, guidance, step, label } = op;
	pass.run(denoising, {
		label,
		params: { tokens, rows, channels4: channels / 4, guidance, ...step },
		bindings: { out, x, noise, input },
		groups: [groups((tokens * channels) / 4)],
	});
}
