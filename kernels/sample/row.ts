import { OutOfMemoryError } from "../gpu/errors.ts";
import type { Gpu } from "../gpu/gpu.ts";
import { struct, type Values } from "../gpu/kernel.ts";
import type { Tensor } from "../gpu/tensor.ts";
import { bound, boundWhole, parted, rowStep, rowsBound } from "../gpu/windows.ts";

/** One job's part of a batch of logits. */
export const SAMPLE_ROW = struct("SampleRow", {
	/** First token of the conditional and of the unconditional row in the batch; equal when only one row runs. */
	cond: "u32",
	uncond: "u32",
	tokens: "u32",
	/** First token in the outputs. */
	out: "u32",
	guidance: "f32",
	tau: "f32",
	/** Most likely values kept: 1 is the argmax, 0 keeps all. */
	topK: "u32",
	/** Nucleus mass, 0 = off. */
	topP: "f32",
	seed: "u32",
	scale: "u32",
	/** 1 where there are two; put there by `logitParts`. */
	guided: "u32?",
});
export type SampleRow = Values<typeof SAMPLE_ROW.fields>;

/** Rows whose logits bindings hold: `logits` of the conditional, `others` of the unconditional ones. */
interface LogitPart {
	logits: Tensor;
	others: Tensor;
	/** Of what is sampled. */
	mixed: Tensor;
	rows: readonly SampleRow[];
	/** The first row's place among all; of its tokens the first; how much further on outputs lie that are bound whole. */
	row: number;
	first: number;
	out: number;
}

/** All rows at once where bindings hold their logits, [tokens, stride] of any length, else some tokens of one. */
export function logitParts(
	gpu: Gpu,
	op: { logits: Tensor; mixed: Tensor; stride: number; rows: readonly SampleRow[]; label: string },
): LogitPart[] {
	const { logits, mixed, stride, label } = op;
	const rows = op.rows.map((row) => ({ ...row, guided: Number(row.cond !== row.uncond) }));
	if (boundWhole(gpu, logits, mixed)) return [{ logits, others: logits, mixed, rows, row: 0, first: 0, out: 0 }];
	const both = [
		[logits, stride],
		[mixed, stride],
	] as const;
	return rows.flatMap((row, i) =>
		parted(0, row.tokens, rowsBound(gpu, both, label)).map(({ first, count }) => {
			const [cond, uncond] = [row.cond, row.uncond].map((token) => part(logits, stride, token + first, count));
			const out = part(mixed, stride, row.out + first, count);
			const own = { ...row, tokens: count, cond: cond.at, uncond: uncond.at, out: out.at };
			const further = row.out + first - out.at;
			return { logits: cond.x, others: uncond.x, mixed: out.x, rows: [own], row: i, first, out: further };
		}),
	);
}

/** All rows at once, or one at a time with all of its tokens. Throws OutOfMemoryError where no binding holds them. */
export function wholeRows(
	gpu: Gpu,
	op: { logits: Tensor; stride: number; rows: readonly SampleRow[]; label: string },
): Pick<LogitPart, "logits" | "others" | "rows" | "row">[] {
	const { logits, stride, label } = op;
	const rows = op.rows.map((row) => ({ ...row, guided: Number(row.cond !== row.uncond) }));
	if (boundWhole(gpu, logits)) return [{ logits, others: logits, rows, row: 0 }];
	return rows.map((row, i) => {
		const [cond, uncond] = [row.cond, row.uncond].map((token) => part(logits, stride, token, row.tokens));
		if (!boundWhole(gpu, cond.x, uncond.x))
			throw new OutOfMemoryError(
				`${label}: the logits of a row are ${cond.x.bytes} bytes; this adapter binds at most ${gpu.bindingBytes}. ` +
					"Use a smaller picture, a plan that seeks no temperature, or another GPU.",
			);
		return { logits: cond.x, others: uncond.x, rows: [{ ...row, cond: cond.at, uncond: uncond.at }], row: i };
	});
}

/** Tokens of a tensor, and where the first of them stands in what is bound. */
function part(tensor: Tensor, stride: number, first: number, count: number): { x: Tensor; at: number } {
	const at = first % rowStep([[tensor, stride]]);
	return { x: bound(tensor, stride, first - at, first + count), at };
}
