/**
 * Keys and values at rest in whole numbers. A packed key is a row of 32-bit words: its 2 * width numbers, then two f16
 * scales a word, one for each group of neighbouring numbers. Rows are packed as they are stored, and unpacked to floats
 * before attention reads them.
 */
import { kernel, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { betweenWindows } from "../gpu/windows.ts";
import { FLAT, flatGroups } from "../gpu/workgroups.ts";

/** How keys and values of a width are packed. */
export interface PackedForm {
	/** Of a number. */
	readonly bits: 8 | 4;
	/** Numbers of a key, and of its value. */
	readonly width: number;
	/** Numbers that have a scale in common, an even count of groups a row. */
	readonly group: number;
	/** 32-bit words of a row, a multiple of 4. */
	readonly words: number;
}

/** Most numbers of a group: what outliers spoil stays small, and scales are an eighth of four bits. */
const MOST_GROUP = 32;

/** Undefined for a width that is no multiple of 8: a word is of one group. */
export function packedForm(width: number, bits: PackedForm["bits"]): PackedForm | undefined {
	if (width % 8 !== 0) return undefined;
	const group = [MOST_GROUP, 16, 8].find((size) => width % size === 0) as number;
	return { bits, width, group, words: Math.ceil(((2 * width * bits) / 32 + width / group) / 4) * 4 };
}

interface Options {
	bits: PackedForm["bits"];
	group: number;
}

const packing = kernel({
	name: "pack keys",
	params: { count: "u32", pairs: "u32", first: "u32", stride4: "u32", at4: "u32", to: "u32", words: "u32" },
	bindings: { x: read("vec4f"), y: write("u32") },
	code: ({ bits, group }: Options) => `
const wholes = ${(group * bits) / 32}u;
fn byFour(v: vec4f) -> vec4u { return vec4u(vec4i(round(v))) & vec4u(${2 ** bits - 1}); }
fn least(v: vec4f) -> f32 { return min(min(v.x, v.y), min(v.z, v.w)); }
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	if (i >= p.count * p.pairs) { return; }
	let row = i / p.pairs;
	let pair = i % p.pairs;
	let to = (p.to + row) * p.words;
	var scales = vec2f(0);
	for (var g = 0u; g < 2u; g++) {
		let own = 2u * pair + g;
		let at = (p.first + row) * p.stride4 + p.at4 + own * ${group / 4}u;
		var low = x[at];
		var high = x[at];
		for (var c = 1u; c < ${group / 4}u; c++) { low = min(low, x[at + c]); high = max(high, x[at + c]); }
		let below = least(low);
		let above = -least(-high);
		let wanted = ${bits === 8 ? "max(above, -below) / 127.0" : "select(above, below, -below > above) / -8.0"};
		// As it will be read: what is rounded by another scale is farther off.
		let scale = unpack2x16float(pack2x16float(vec2f(clamp(wanted, -65504.0, 65504.0), 0))).x;
		scales[g] = scale;
		let by = select(0.0, 1.0 / scale, scale != 0.0);
		for (var w = 0u; w < wholes; w++) {
			${bits === 8 ? EIGHT : FOUR}
		}
	}
	y[to + p.pairs * 2u * wholes + pair] = pack2x16float(scales);
}`,
});

const EIGHT = `let v = byFour(clamp(x[at + w] * by, vec4f(-127), vec4f(127)));
			y[to + own * wholes + w] = v.x | (v.y << 8) | (v.z << 16) | (v.w << 24);`;
const FOUR = `let a = byFour(clamp(x[at + 2u * w] * by, vec4f(-8), vec4f(7)));
			let b = byFour(clamp(x[at + 2u * w + 1u] * by, vec4f(-8), vec4f(7)));
			y[to + own * wholes + w] = a.x | (a.y << 4) | (a.z << 8) | (a.w << 12) |
				(b.x << 16) | (b.y << 20) | (b.z << 24) | (b.w << 28);`;

const unpacking = kernel({
	name: "unpack keys",
	params: { count: "u32", first: "u32", words: "u32", width4: "u32", to: "u32" },
	bindings: { x: read("u32"), y: write("vec4f") },
	code: ({ bits, group }: Options) => `
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
	let i = ${FLAT};
	let row4 = 2u * p.width4;
	if (i >= p.count * row4) { return; }
	let row = i / row4;
	let c = i % row4;
	let at = (p.first + row) * p.words;
	let own = c / ${group / 4}u;
	let scales = unpack2x16float(x[at + ${bits === 8 ? "row4" : "row4 / 2u"} + own / 2u]);
	let word = i32(x[at + ${bits === 8 ? "c" : "c / 2u"}]);
	let bit = ${bits === 8 ? "0u" : "c % 2u * 16u"};
	let v = vec4i(${[0, 1, 2, 3].map((n) => `extractBits(word, bit + ${n * bits}u, ${bits}u)`).join(", ")});
	y[(p.to + row) * row4 + c] = vec4f(v) * select(scales.x, scales.y, own % 2u == 1u);
}`,
});

/**
 * Packs `count` rows of x, from row `from` on, each `stride` floats of which the 2 * width from `at` on are a key and
 * its value, into rows `to` and on of y, [keys, words]. Both are of any length. Of eight bits, a group's number of
 * greatest magnitude is 127 scales from 0; of four, -8 scales, so that all sixteen numbers are used.
 */
export function packKeys(
	pass: Pass,
	op: {
		x: Tensor;
		from: number;
		stride: number;
		at: number;
		y: Tensor;
		to: number;
		count: number;
		form: PackedForm;
		label: string;
	},
): void {
	const { stride, at, count, form, label } = op;
	const { bits, width, group, words } = form;
	const pairs = width / group;
	const [x, y] = [
		{ tensor: op.x, columns: stride, first: op.from },
		{ tensor: op.y, columns: words, first: op.to },
	];
	betweenWindows(pass.gpu, x, y, count, label, (x, y, count) =>
		pass.run(packing, {
			label,
			options: { bits, group },
			params: { count, pairs, first: x.first, stride4: stride / 4, at4: at / 4, to: y.first, words },
			bindings: { x: x.tensor, y: y.tensor },
			groups: flatGroups(count * pairs),
		}),
	);
}

/** Unpacks `count` rows of x, [keys, words], from row `from` on, into rows `to` and on of y, [keys, 2 * width]. */
export function unpackKeys(
	pass: Pass,
	op: { x: Tensor; from: number; y: Tensor; to: number; count: number; form: PackedForm; label: string },
): void {
	const { count, form, label } = op;
	const { bits, width, group, words } = form;
	const [x, y] = [
		{ tensor: op.x, columns: words, first: op.from },
		{ tensor: op.y, columns: 2 * width, first: op.to },
	];
	betweenWindows(pass.gpu, x, y, count, label, (x, y, count) =>
		pass.run(unpacking, {
			label,
			options: { bits, group },
			params: { count, first: x.first, words, width4: width / 4, to: y.first },
			bindings: { x: x.tensor, y: y.tensor },
			groups: flatGroups((count * width) / 2),
		}),
	);
}
