import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";
import { SAMPLE_ROW, type SampleRow, sampleTable } from "./bits.ts";

const LANES = 64;
const HALVINGS = 24;

/** What a row's temperature is sought for, and between which bounds. A row without one keeps its own `tau`. */
export interface Temper {
	/** Mean probability of the likeliest value. */
	confidence: number;
	between: readonly [number, number];
}

/**
 * The temperature of every row at which its values are as sure as asked, by bisection: the mean, over all tokens and
 * choices, of the largest probability falls to `confidence` (DiverseAR, arXiv 2512.02931). It is the lower bound where
 * it is that low there already.
 *
 * logits: [tokens, choices * values] as `sampleBits` (two values a bit) and `sampleCategories` (one choice) read them
 * -> taus: f32 [rows]. A workgroup is a row.
 */
export function temper(
	pass: Pass,
	op: {
		logits: Tensor;
		taus: Tensor;
		choices: number;
		values: number;
		rows: readonly (SampleRow & { temper?: Temper })[];
		label: string;
	},
): void {
	const targets = new Uint32Array(
		new Float32Array(
			op.rows.flatMap(({ tau, temper }) => (temper ? [temper.confidence, ...temper.between, 0] : [2, tau, tau, 0])),
		).buffer,
	);
	const code = `
${SAMPLE_ROW}
@group(0) @binding(0) var<uniform> p: vec4u;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> taus: array<f32>;
@group(0) @binding(3) var<storage, read> rows: array<SampleRow>;
@group(0) @binding(4) var<storage, read> targets: array<vec4f>;
var<workgroup> parts: array<f32, ${LANES}>;
var<workgroup> joined: f32;

fn mixed(row: SampleRow, choice: u32, value: u32) -> f32 {
	let token = choice / p.x;
	let at = (choice % p.x) * p.y + value;
	let u = logits[(row.uncond + token) * p.x * p.y + at];
	if (row.cond == row.uncond) { return u; }
	return row.guidance * logits[(row.cond + token) * p.x * p.y + at] + (1.0 - row.guidance) * u;
}
// The lanes' parts, joined in their order by one lane.
fn meanOf(lane: u32, part: f32, count: u32) -> f32 {
	parts[lane] = part;
	workgroupBarrier();
	if (lane == 0u) {
		var sum = 0.0;
		for (var i = 0u; i < ${LANES}u; i++) { sum += parts[i]; }
		joined = sum / f32(count);
	}
	return workgroupUniformLoad(&joined);
}
fn confidence(lane: u32, row: SampleRow, tau: f32) -> f32 {
	let choices = row.tokens * p.x;
	var sum = 0.0;
	for (var choice = lane; choice < choices; choice += ${LANES}u) {
		var most = mixed(row, choice, 0u);
		for (var v = 1u; v < p.y; v++) { most = max(most, mixed(row, choice, v)); }
		var mass = 0.0;
		for (var v = 0u; v < p.y; v++) { mass += exp((mixed(row, choice, v) - most) / tau); }
		sum += 1.0 / mass;
	}
	return meanOf(lane, sum, choices);
}
@compute @workgroup_size(${LANES}) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
	let row = rows[group.x];
	let goal = targets[group.x];
	var low = goal.y;
	var high = goal.z;
	if (high > low && confidence(lane, row, low) > goal.x) {
		for (var i = 0u; i < ${HALVINGS}u; i++) {
			let middle = 0.5 * (low + high);
			if (confidence(lane, row, middle) > goal.x) { low = middle; } else { high = middle; }
		}
		low = 0.5 * (low + high);
	}
	if (lane == 0u) { taus[group.x] = low; }
}`;
	pass.run(
		op.label,
		code,
		[op.choices, op.values, 0, 0],
		[op.logits, op.taus, sampleTable(pass, op.rows), pass.table(targets)],
		[op.rows.length],
	);
}
