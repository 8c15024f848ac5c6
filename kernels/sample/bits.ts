import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { groups } from "../tokens/rows.ts";
import { PHILOX, PURPOSE } from "./random.ts";

/** One job's part of a batch of logits. */
export interface SampleRow {
	/** First token of the conditional and of the unconditional row in the batch; equal when only one row runs. */
	cond: number;
	uncond: number;
	tokens: number;
	/** First token in the outputs. */
	out: number;
	guidance: number;
	tau: number;
	/** Most likely values kept: 1 is the argmax, 0 keeps all. */
	topK: number;
	/** Nucleus mass, 0 = off. */
	topP: number;
	seed: number;
	scale: number;
	branch: number;
}
export const SAMPLE_ROW = `struct SampleRow { cond: u32, uncond: u32, tokens: u32, out: u32, guidance: f32, tau: f32, topK: u32, topP: f32, seed: u32, scale: u32, branch: u32, pad: u32 }`;

export function sampleTable(pass: Pass, rows: readonly SampleRow[]): Tensor {
	const words = new Uint32Array(rows.length * 12);
	const floats = new Float32Array(words.buffer);
	rows.forEach((row, i) => {
		words.set(
			[row.cond, row.uncond, row.tokens, row.out, 0, 0, row.topK, 0, row.seed, row.scale, row.branch, 0],
			i * 12,
		);
		floats.set([row.guidance, row.tau], i * 12 + 4);
		floats[i * 12 + 7] = row.topP;
	});
	return pass.table(words);
}

/**
 * Guidance then binary sampling (Infinity, arXiv 2412.04431): mixed = w * cond / tau + (1 - w) * uncond / tau, where
 * output 2b is bit b = 0 and 2b + 1 is bit b = 1. Under top-p a bit's rarer value survives only when the likelier one's
 * mass is below it.
 *
 * `taus`, f32 [rows], goes before the rows' own. logits: [tokens, 2 * bits] -> mixed: [out tokens, 2 * bits], codes:
 * u32 [out tokens, ceil(bits / 32)], least significant bit first.
 */
export function sampleBits(
	pass: Pass,
	op: {
		logits: Tensor;
		mixed: Tensor;
		codes: Tensor;
		taus?: Tensor;
		bits: number;
		rows: readonly SampleRow[];
		label: string;
	},
): void {
	const words = Math.ceil(op.bits / 32);
	const code = `
${SAMPLE_ROW}
${PHILOX}
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> logits: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> mixed: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> codes: array<u32>;
@group(0) @binding(4) var<storage, read> rows: array<SampleRow>;
${op.taus ? "@group(0) @binding(5) var<storage, read> taus: array<f32>;" : ""}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.y];
	let token = id.x;
	if (token >= row.tokens) { return; }
	let bits = p.x;
	let tau = ${op.taus ? "taus[id.y]" : "row.tau"};
	for (var word = 0u; word < ${words}u; word++) {
		var packed = 0u;
		for (var b = word * 32u; b < min(bits, word * 32u + 32u); b++) {
			let u = logits[(row.uncond + token) * bits + b] / tau;
			var pair = u;
			if (row.cond != row.uncond) {
				let c = logits[(row.cond + token) * bits + b] / tau;
				pair = row.guidance * c + (1.0 - row.guidance) * u;
			}
			mixed[(row.out + token) * bits + b] = pair;
			var one = 1.0 / (1.0 + exp(pair.x - pair.y));
			if (row.topK == 1u) {
				one = select(0.0, 1.0, pair.y > pair.x);
			} else if (row.topP > 0.0 && max(one, 1.0 - one) >= row.topP) {
				one = select(0.0, 1.0, one >= 0.5);
			}
			let draw = uniform4(philox(vec4u(token, b, row.scale, ${PURPOSE.bits}u), vec2u(row.seed, row.branch))).x;
			packed |= select(0u, 1u, draw < one) << (b - word * 32u);
		}
		codes[(row.out + token) * ${words}u + word] = packed;
	}
}`;
	const tokens = Math.max(...op.rows.map((row) => row.tokens));
	pass.run(
		op.label,
		code,
		[op.bits, 0, 0, 0],
		[op.logits, op.mixed, op.codes, sampleTable(pass, op.rows), ...(op.taus ? [op.taus] : [])],
		[groups(tokens), op.rows.length],
	);
}

/**
 * BSQ codes as numbers: codes u32 [tokens, words] -> values [tokens, bits] of +-1/sqrt(sphere), the bits that lie on
 * one sphere: by default all (arXiv 2406.07548).
 */
export function codeValues(
	pass: Pass,
	op: { codes: Tensor; values: Tensor; bits: number; sphere?: number; tokens: number; label: string },
): void {
	const code = `
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read_write> values: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	if (id.x >= p.x * p.y) { return; }
	let token = id.x / p.x;
	let b = id.x % p.x;
	let bit = (codes[token * ${Math.ceil(op.bits / 32)}u + b / 32u] >> (b % 32u)) & 1u;
	values[id.x] = (f32(bit) * 2.0 - 1.0) / sqrt(f32(p.z));
}`;
	pass.run(
		op.label,
		code,
		[op.bits, op.tokens, op.sphere ?? op.bits, 0],
		[op.codes, op.values],
		[groups(op.bits * op.tokens)],
	);
}
