import { kernel, read, struct, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { SAMPLE_ROW, type SampleRow, wholeRows } from "./row.ts";

const LANES = 64;
const HALVINGS = 24;

/** What a row's temperature is sought for, and between which bounds. A row without one keeps its own `tau`. */
export interface Temperature {
	/** Mean probability of the likeliest value. */
	confidence: number;
	between: readonly [number, number];
}

const GOAL = struct("Goal", { confidence: "f32", low: "f32", high: "f32" });

const seeking = kernel({
	name: "temperature",
	params: { choices: "u32", values: "u32", stride: "u32", row: "u32" },
	bindings: { logits: read("f32"), others: read("f32"), taus: write("f32"), rows: read(SAMPLE_ROW), goals: read(GOAL) },
	code: () => `
var<workgroup> parts: array<f32, ${LANES}>;
var<workgroup> joined: f32;

fn mixed(row: SampleRow, choice: u32, value: u32) -> f32 {
	let token = choice / p.choices;
	let at = (choice % p.choices) * p.values + value;
	let u = others[(row.uncond + token) * p.stride + at];
	if (row.guided == 0u) { return u; }
	return row.guidance * logits[(row.cond + token) * p.stride + at] + (1.0 - row.guidance) * u;
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
	let choices = row.tokens * p.choices;
	var sum = 0.0;
	for (var choice = lane; choice < choices; choice += ${LANES}u) {
		var most = mixed(row, choice, 0u);
		for (var v = 1u; v < p.values; v++) { most = max(most, mixed(row, choice, v)); }
		var mass = 0.0;
		for (var v = 0u; v < p.values; v++) { mass += exp((mixed(row, choice, v) - most) / tau); }
		sum += 1.0 / mass;
	}
	return meanOf(lane, sum, choices);
}
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
	let row = rows[group.x];
	let goal = goals[p.row + group.x];
	var low = goal.low;
	var high = goal.high;
	if (high > low && confidence(lane, row, low) > goal.confidence) {
		for (var i = 0u; i < ${HALVINGS}u; i++) {
			let middle = 0.5 * (low + high);
			if (confidence(lane, row, middle) > goal.confidence) { low = middle; } else { high = middle; }
		}
		low = 0.5 * (low + high);
	}
	if (lane == 0u) { taus[p.row + group.x] = low; }
}`,
});

/**
 * The temperature of every row at which its values are as sure as asked, by bisection: the mean, over all tokens and
 * choices, of the largest probability falls to `confidence` (DiverseAR, arXiv 2512.02931). It is the lower bound where
 * it is that low there already.
 *
 * logits: [tokens, stride], choices * values first, as `sampleBits` (two values a bit) and `sampleCategories` (one
 * choice) read them -> taus: f32 [rows]. A workgroup is a row. Throws OutOfMemoryError where a binding does not hold
 * the logits of one.
 */
export function seekTemperature(
	pass: Pass,
	op: {
		logits: Tensor;
		taus: Tensor;
		choices: number;
		values: number;
		/** Left out: choices * values. */
		stride?: number;
		rows: readonly (SampleRow & { temperature?: Temperature })[];
		label: string;
	},
): void {
	const { logits, taus, choices, values, stride = choices * values, rows, label } = op;
	const goals = rows.map(({ tau, temperature }) => {
		if (!temperature) return { confidence: 2, low: tau, high: tau };
		const [low, high] = temperature.between;
		return { confidence: temperature.confidence, low, high };
	});
	const table = pass.rows(GOAL, goals);
	for (const { rows: own, row, ...tensors } of wholeRows(pass.gpu, { logits, stride, rows, label }))
		pass.run(seeking, {
			label,
			params: { choices, values, stride, row },
			bindings: { ...tensors, taus, rows: pass.rows(SAMPLE_ROW, own), goals: table },
			groups: [own.length],
		});
}
