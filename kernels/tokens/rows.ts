/**
 * Ragged rows: a batch is a flat list of tokens, cut into rows (one sequence of one job, conditional or not). Every row
 * has its own length, cache and text range; operators find a token's row through `tokenRow`.
 */

import { struct, type Values } from "../gpu/kernel.ts";
import type { Pass } from "../gpu/pass.ts";
import type { Tensor } from "../gpu/tensor.ts";

/** `rows[tokenRow[t]]` is the row of token t. */
export const ROW = struct("Row", {
	/** First token in the flat batch, and how many. */
	token: "u32",
	tokens: "u32",
	/** Row of the conditioning tables (modulation, pooled text). */
	cond: "u32",
	/** Rotary position of the row's first token. */
	rope: "u32",
	/** Keys this row attends to: first and count, in the key/value buffer. */
	key: "u32",
	keys: "u32",
	/** Where in the cache its own keys go, or NOWHERE. */
	append: "u32",
	/** Where selected tokens stand: 1 + the first of their positions in a table of those. Absent: one after the other. */
	selected: "u32?",
});
export type Row = Values<typeof ROW.fields>;

export interface RowTable {
	rows: readonly Row[];
	tokens: number;
	/** u32 [tokens]: row of each token, the first of which stands at `from`; left out: at 0. */
	tokenRow: Tensor;
	from?: number;
	/** Row structs. */
	table: Tensor;
}

/** For rows whose keys no later step needs. */
export const NOWHERE = 0xffff_ffff;

/** `tokenRow`: that of another table of this pass with the same rows over the same tokens, to share it. */
export function rowTable(pass: Pass, rows: readonly Row[], tokenRow = tokenRows(pass, rows)): RowTable {
	const tokens = rows.reduce((sum, row) => sum + row.tokens, 0);
	return { rows, tokens, tokenRow, table: pass.rows(ROW, rows) };
}

/** The same for its tokens from the `first` one on, counted from there; rows still say where they lie among all. */
export const rowsAfter = (table: RowTable, first: number, tokens: number): RowTable => ({
	...table,
	tokens,
	from: (table.from ?? 0) + first,
});

function tokenRows(pass: Pass, rows: readonly Row[]): Tensor {
	const words = new Uint32Array(rows.reduce((sum, row) => sum + row.tokens, 0));
	rows.forEach((row, index) => words.fill(index, row.token, row.token + row.tokens));
	return pass.table(words);
}
