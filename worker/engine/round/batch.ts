import type { Pass } from "../../../kernels/gpu/pass.ts";
import { NOWHERE, type Row, type RowTable, rowTable } from "../../../kernels/tokens/rows.ts";
import type { RunStep } from "../../protocol/plan.ts";
import { COND, condOf, ROWS, rowsOf, UNCOND } from "./kv-plan.ts";
import type { Step } from "./model.ts";
import { type Job, stores } from "./picture.ts";
import type { Span } from "./spans.ts";

/** One job's scale in a round: its guidance rows lie one after the other in the flat batch, `length` tokens each. */
export interface Part {
	step: Step<Job>;
	job: Job;
	run: RunStep;
	scale: number;
	/** Tokens of the scale; `length` are fewer inside a reduced span. The last `codes` of them give its codes. */
	tokens: number;
	codes: number;
	rows: number[];
	at: number;
	length: number;
	span: Span | undefined;
	/** All of its step. */
	spans: readonly Span[];
	/** First of its places in what is counted once a job (codes, inputs), and how many. */
	cell: number;
	cells: number;
	/** First of its drawn positions. */
	pick: number;
	/** Where its sampled codes go: its own cells, or beyond all cells where others are forced. */
	sampledAt: number;
}

/** Lays the steps of a round out. Those that are sampled come first: the head runs over them alone. */
export function layOut(steps: readonly Step<Job>[]): Part[] {
	const parts: Part[] = [];
	let at = 0;
	let cell = 0;
	for (const step of steps.toSorted((a, b) => Number(b.sample) - Number(a.sample))) {
		const { job, scale } = step;
		const run = job.plan.steps[scale] as RunStep;
		const rows = rowsOf(run);
		const [tokens, codes] = [job.tokens[scale], job.codes[scale]];
		// The first scale's inputs differ by guidance row.
		const cells = scale === 0 ? ROWS * tokens : tokens;
		parts.push({
			step,
			job,
			run,
			scale,
			tokens,
			codes,
			rows,
			at,
			length: tokens,
			span: undefined,
			spans: job.spans[scale],
			cell,
			cells,
			pick: at,
			sampledAt: cell,
		});
		at += rows.length * tokens;
		cell += cells;
	}
	for (const part of parts) if (part.step.forced && part.step.sample) part.sampledAt += cell;
	return parts;
}

export const tokensIn = (parts: readonly Part[]): number =>
	parts.reduce((sum, { rows, length }) => sum + rows.length * length, 0);
export const cellsIn = (parts: readonly Part[]): number => parts.reduce((sum, { cells }) => sum + cells, 0);

/** One row a part and guidance row, in the order of the flat batch. */
export function rowsIn(parts: readonly Part[], more: (part: Part, row: number) => Partial<Row> = () => ({})): Row[] {
	return parts.flatMap((part) =>
		part.rows.map((row, i) => ({
			token: part.at + i * part.length,
			tokens: part.length,
			cond: condOf(part.job.slot, row),
			rope: 0,
			key: 0,
			keys: 0,
			append: 0,
			...more(part, row),
		})),
	);
}

/**
 * Those tokens of a part's rows that stand for the cells of its grid: the last ones, where a text comes before the
 * first cell, else all.
 */
export const cellTokens = ({ at, rows, length, codes }: Part): { token: number; tokens: number }[] => {
	const tokens = Math.min(length, codes);
	return rows.map((_, row) => ({ token: at + (row + 1) * length - tokens, tokens }));
};

/**
 * Tables of one block: the rows with the cached keys they see and where their own are stored, the same rows with their
 * text, and, where any is guided by it, the same rows with no prompt's text.
 */
export function blockRows(
	pass: Pass,
	parts: readonly Part[],
	block: number,
	rope: (part: Part) => number,
): { self: RowTable; cross: RowTable; blank?: RowTable } {
	const self = rowTable(
		pass,
		rowsIn(parts, (part, row) => {
			const { start, used } = part.job.keys[row][block];
			const selected = part.span?.reduction.rope === "kept" ? 1 + part.pick + part.rows.indexOf(row) * part.length : 0;
			return {
				rope: rope(part),
				key: start,
				keys: used,
				append: stores(part.job, row, part.scale) ? start + used : NOWHERE,
				selected,
			};
		}),
	);
	const text = (of: (row: number) => number) => {
		const rows = rowsIn(parts, ({ job: { context } }, row) => ({
			key: context.keys[block] + (of(row) === COND ? 0 : context.counts[COND]),
			keys: context.counts[of(row)],
		}));
		return rowTable(pass, rows, self.tokenRow);
	};
	return {
		self,
		cross: text((row) => row),
		...(parts.some(({ run }) => run.textGuidance !== undefined) && { blank: text(() => UNCOND) }),
	};
}
