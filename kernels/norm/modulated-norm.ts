import { kernel, optional, read, write } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { boundWhole, byWindows } from "../gpu/windows.ts";
import { ROW, type RowTable, rowsAfter } from "../tokens/rows.ts";
import { type Lanes, laneGroups, lanesOf, main, total } from "./lanes.ts";

interface ModulatedNorm {
	/** [tokens, width], of any length. */
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
	/** For tests; by default those of the adapter. */
	lanes?: Lanes;
}

const modulating = kernel({
	name: "modulated norm",
	params: { tokens: "u32", width4: "u32", stride4: "u32", scale4: "u32", shift4: "u32", eps: "f32", token: "u32?" },
	bindings: {
		x: read("vec4f"),
		y: write("vec4f"),
		modulation: read("vec4f"),
		weight: optional(read("vec4f")),
		bias: optional(read("vec4f")),
		tokenRow: optional(read("u32")),
		rows: optional(read(ROW)),
	},
	code: ({ centred, lanes }: { centred: boolean; lanes: Lanes }, { weight, bias, rows }) => `
${total(lanes)}${main(lanes)}
	let at = t * p.width4;
	var mean = 0.0;
	${centred ? mean(lanes) : ""}
	var square = vec4f(0);
	for (var i = lane; i < p.width4; i += ${lanes}u) { let d = x[at + i] - mean; square += d * d; }
	let r = inverseSqrt(total(square, lane) / f32(p.width4 * 4u) + p.eps);
	let m = ${rows ? "rows[tokenRow[p.token + t]].cond" : "t"} * p.stride4;
	for (var i = lane; i < p.width4; i += ${lanes}u) {
		let n = (x[at + i] - mean) * r${weight ? " * weight[i]" : ""}${bias ? " + bias[i]" : ""};
		y[at + i] = n * (1.0 + modulation[m + p.scale4 + i]) + modulation[m + p.shift4 + i];
	}
}`,
});

const mean = (lanes: Lanes) => `var sum = vec4f(0);
	for (var i = lane; i < p.width4; i += ${lanes}u) { sum += x[at + i]; }
	mean = total(sum, lane) / f32(p.width4 * 4u);`;

/** y = (norm(x) * weight + bias) * (1 + scale) + shift over the channels of every token. */
export function modulatedNorm(pass: Pass, op: ModulatedNorm): void {
	const { x, y, tokens, width, table, stride, rows, label } = op;
	if (boundWhole(pass.gpu, x, y, rows ? undefined : table)) normalise(pass, op);
	else {
		const own = rows ? [] : ([[table, stride]] as const);
		byWindows(
			pass.gpu,
			{ first: 0, count: tokens },
			[[x, width], [y, width], ...own],
			label,
			([x, y, part = table], { first, count }) =>
				normalise(pass, { ...op, x, y, table: part, tokens: count, rows: rows && rowsAfter(rows, first, count) }),
		);
	}
}

function normalise(pass: Pass, op: ModulatedNorm): void {
	const { x, y, tokens, width, eps, centred, weight, bias, table, stride, scale, shift, rows, label } = op;
	const { lanes = lanesOf(pass.gpu) } = op;
	pass.run(modulating, {
		label,
		options: { centred, lanes },
		params: {
			tokens,
			width4: width / 4,
			stride4: stride / 4,
			scale4: scale / 4,
			shift4: shift / 4,
			eps,
			token: rows?.from,
		},
		bindings: { x, y, modulation: table, weight, bias, tokenRow: rows?.tokenRow, rows: rows?.table },
		groups: laneGroups(tokens, lanes),
	});
}
