import { kernel, optional, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { FLAT, flatGroups, groups } from "../gpu/workgroups.ts";
import { PHILOX, PURPOSE } from "./random.ts";
import { logitParts, SAMPLE_ROW, type SampleRow } from "./row.ts";

const sampling = kernel({
	name: "sample bits",
	params: { bits: "u32", pairs: "u32", row: "u32", first: "u32", out: "u32" },
	bindings: {
		logits: read("vec2f"),
		others: read("vec2f"),
		mixed: write("vec2f"),
		codes: write("u32"),
		rows: read(SAMPLE_ROW),
		taus: optional(read("f32")),
	},
	code: ({ words }: { words: number }, { taus }) => `${PHILOX}
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let row = rows[id.y];
	let token = id.x;
	if (token >= row.tokens) { return; }
	let bits = p.bits;
	let tau = ${taus ? "taus[p.row + id.y]" : "row.tau"};
	for (var word = 0u; word < ${words}u; word++) {
		var packed = 0u;
		for (var b = word * 32u; b < min(bits, word * 32u + 32u); b++) {
			let u = others[(row.uncond + token) * p.pairs + b] / tau;
			var pair = u;
			if (row.guided == 1u) {
				let c = logits[(row.cond + token) * p.pairs + b] / tau;
				pair = row.guidance * c + (1.0 - row.guidance) * u;
			}
			mixed[(row.out + token) * p.pairs + b] = pair;
			var one = 1.0 / (1.0 + exp(pair.x - pair.y));
			if (row.topK == 1u) {
				one = select(0.0, 1.0, pair.y > pair.x);
			} else if (row.topP > 0.0 && max(one, 1.0 - one) >= row.topP) {
				one = select(0.0, 1.0, one >= 0.5);
			}
			let draw = uniform4(philox(vec4u(p.first + token, b, row.scale, ${PURPOSE.bits}u), vec2u(row.seed, 0u))).x;
			packed |= select(0u, 1u, draw < one) << (b - word * 32u);
		}
		codes[(p.out + row.out + token) * ${words}u + word] = packed;
	}
}`,
});

/**
 * Guidance then binary sampling (Infinity, arXiv 2412.04431): mixed = w * cond / tau + (1 - w) * uncond / tau, where
 * output 2b is bit b = 0 and 2b + 1 is bit b = 1. Under top-p a bit's rarer value survives only when the likelier one's
 * mass is below it.
 *
 * `taus`, f32 [rows], goes before the rows' own. logits: [tokens, stride] -> mixed: [out tokens, stride], both with
 * 2 * bits values first and an even stride, of any length, codes: u32 [out tokens, ceil(bits / 32)], least significant
 * bit first.
 */
export function sampleBits(
	pass: Pass,
	op: {
		logits: Tensor;
		mixed: Tensor;
		codes: Tensor;
		taus?: Tensor;
		bits: number;
		/** Left out: 2 * bits. */
		stride?: number;
		rows: readonly SampleRow[];
		label: string;
	},
): void {
	const { logits, mixed, codes, taus, bits, stride = 2 * bits, rows, label } = op;
	for (const { rows: own, row, first, out, ...tensors } of logitParts(pass.gpu, { logits, mixed, stride, rows, label }))
		pass.run(sampling, {
			label,
			options: { words: Math.ceil(bits / 32) },
			params: { bits, pairs: stride / 2, row, first, out },
			bindings: { ...tensors, codes, rows: pass.rows(SAMPLE_ROW, own), taus },
			groups: [groups(Math.max(...own.map(({ tokens }) => tokens))), own.length],
		});
}

const spreading = kernel({
	name: "code values",
	params: { bits: "u32", stride: "u32", tokens: "u32", sphere: "u32" },
	bindings: { codes: read("u32"), values: write("f32") },
	code: ({ words }: { words: number }) => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i >= p.stride * p.tokens) { return; }
	let token = i / p.stride;
	let b = i % p.stride;
	if (b >= p.bits) { values[i] = 0.0; return; }
	let bit = (codes[token * ${words}u + b / 32u] >> (b % 32u)) & 1u;
	values[i] = (f32(bit) * 2.0 - 1.0) / sqrt(f32(p.sphere));
}`,
});

/**
 * BSQ codes as numbers: codes u32 [tokens, words] -> values [tokens, stride], the bits first, of +-1/sqrt(sphere),
 * zeros behind them. `sphere`: the bits that lie on one sphere, by default all (arXiv 2406.07548).
 */
export function codeValues(
	pass: Pass,
	op: { codes: Tensor; values: Tensor; bits: number; stride?: number; sphere?: number; tokens: number; label: string },
): void {
	const { codes, values, bits, stride = bits, sphere = bits, tokens, label } = op;
	pass.run(spreading, {
		label,
		options: { words: Math.ceil(bits / 32) },
		params: { bits, stride, tokens, sphere },
		bindings: { codes, values },
		groups: flatGroups(stride * tokens),
	});
}
