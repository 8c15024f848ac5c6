import { kernel, optional, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { PHILOX, PURPOSE } from "./random.ts";
import { logitParts, SAMPLE_ROW, type SampleRow } from "./row.ts";

const LANES = 64;

const sampling = kernel({
	name: "sample categories",
	params: { vocabulary: "u32", stride: "u32", row: "u32", first: "u32", out: "u32" },
	bindings: {
		logits: read("f32"),
		others: read("f32"),
		mixed: write("f32"),
		codes: write("u32"),
		rows: read(SAMPLE_ROW),
		taus: optional(read("f32")),
	},
	code: (_, { taus }) => `${PHILOX}
var<workgroup> parts: array<f32, ${LANES}>;
var<workgroup> joined: f32;

// Greater floats have greater keys.
fn keyOf(value: f32) -> u32 {
	let bits = bitcast<u32>(value);
	return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
// The lanes' parts, joined in their order by one lane.
fn sumOf(lane: u32, part: f32) -> f32 {
	parts[lane] = part;
	workgroupBarrier();
	if (lane == 0u) {
		var sum = 0.0;
		for (var i = 0u; i < ${LANES}u; i++) { sum += parts[i]; }
		joined = sum;
	}
	return workgroupUniformLoad(&joined);
}
fn maxOf(lane: u32, part: f32) -> f32 {
	parts[lane] = part;
	workgroupBarrier();
	if (lane == 0u) {
		var most = parts[0];
		for (var i = 1u; i < ${LANES}u; i++) { most = max(most, parts[i]); }
		joined = most;
	}
	return workgroupUniformLoad(&joined);
}

@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
	let row = rows[group.y];
	let token = group.x;
	if (token >= row.tokens) { return; }
	let tau = ${taus ? "taus[p.row + group.y]" : "row.tau"};
	let each = (p.vocabulary + ${LANES - 1}u) / ${LANES}u;
	let out = (row.out + token) * p.stride;
	let first = out + min(lane * each, p.vocabulary);
	let last = out + min(lane * each + each, p.vocabulary);

	var most = -3.4e38;
	for (var i = first; i < last; i++) {
		let u = others[(row.uncond + token) * p.stride + i - out] / tau;
		var value = u;
		if (row.guided == 1u) {
			let c = logits[(row.cond + token) * p.stride + i - out] / tau;
			value = row.guidance * c + (1.0 - row.guidance) * u;
		}
		mixed[i] = value;
		most = max(most, value);
	}
	let top = maxOf(lane, most);

	// The greatest key that at least topK values reach is the k-th largest value's.
	var least = 0u;
	if (row.topK > 0u && row.topK < p.vocabulary) {
		for (var bit = 0x80000000u; bit > 0u; bit >>= 1u) {
			var count = 0.0;
			for (var i = first; i < last; i++) { count += select(0.0, 1.0, keyOf(mixed[i]) >= (least | bit)); }
			if (sumOf(lane, count) >= f32(row.topK)) { least |= bit; }
		}
	}

	var mass = 0.0;
	for (var i = first; i < last; i++) { mass += select(0.0, exp(mixed[i] - top), keyOf(mixed[i]) >= least); }
	var total = sumOf(lane, mass);

	// The greatest key below which no more than 1 - topP of the mass lies is the least value's that stays.
	if (row.topP > 0.0) {
		var under = 0u;
		for (var bit = 0x80000000u; bit > 0u; bit >>= 1u) {
			var below = 0.0;
			for (var i = first; i < last; i++) {
				let key = keyOf(mixed[i]);
				below += select(0.0, exp(mixed[i] - top), key >= least && key < (under | bit));
			}
			if (sumOf(lane, below) <= (1.0 - row.topP) * total) { under |= bit; }
		}
		least = max(least, min(under, keyOf(top)));
		mass = 0.0;
		for (var i = first; i < last; i++) { mass += select(0.0, exp(mixed[i] - top), keyOf(mixed[i]) >= least); }
		total = sumOf(lane, mass);
	}

	parts[lane] = mass;
	workgroupBarrier();
	if (lane == 0u) {
		let counter = vec4u(p.first + token, 0u, row.scale, ${PURPOSE.codes}u);
		let draw = uniform4(philox(counter, vec2u(row.seed, 0u))).x * total;
		var before = 0.0;
		var part = 0u;
		for (var l = 0u; l < ${LANES}u; l++) {
			if (parts[l] == 0.0) { continue; }
			part = l;
			if (before + parts[l] > draw) { break; }
			before += parts[l];
		}
		var chosen = 0u;
		for (var i = out + part * each; i < out + min(part * each + each, p.vocabulary); i++) {
			if (keyOf(mixed[i]) < least) { continue; }
			chosen = i - out;
			before += exp(mixed[i] - top);
			if (before > draw) { break; }
		}
		codes[p.out + row.out + token] = chosen;
	}
}`,
});

/**
 * Guidance, then one code of a vocabulary a token, by VAR's rule (arXiv 2404.02905): mixed = w * cond / tau + (1 - w) *
 * uncond / tau; top-k keeps every value that is not below the k-th largest; top-p then drops values from the least
 * likely on while the mass of what is dropped stays within 1 - topP, never the likeliest. Values that tie with the last
 * one kept are kept too. The draw is the inverse of the cumulated mass, in the order of the vocabulary. topK 1 is the
 * argmax.
 *
 * `taus`, f32 [rows], goes before the rows' own. logits: [tokens, stride] -> mixed: [out tokens, stride], both with
 * `vocabulary` values first, of any length, codes: u32 [out tokens]. A workgroup is a token.
 */
export function sampleCategories(
	pass: Pass,
	op: {
		logits: Tensor;
		mixed: Tensor;
		codes: Tensor;
		taus?: Tensor;
		vocabulary: number;
		/** Left out: the vocabulary. */
		stride?: number;
		rows: readonly SampleRow[];
		label: string;
	},
): void {
	const { logits, mixed, codes, taus, vocabulary, stride = vocabulary, rows, label } = op;
	for (const { rows: own, row, first, out, ...tensors } of logitParts(pass.gpu, { logits, mixed, stride, rows, label }))
		pass.run(sampling, {
			label,
			params: { vocabulary, stride, row, first, out },
			bindings: { ...tensors, codes, rows: pass.rows(SAMPLE_ROW, own), taus },
			groups: [Math.max(...own.map(({ tokens }) => tokens)), own.length],
		});
}
