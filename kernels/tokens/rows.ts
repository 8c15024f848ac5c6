/**
 * Ragged rows: a batch is a flat list of tokens, cut into rows (one sequence of one job, conditional or not). Every row
 * has its own length, cache and text range; operators find a token's row through `tokenRow`.
 */
import type { Tensor } from "../gpu/gpu.ts";
import type { Pass } from "../gpu/pass.ts";

export interface Row {
	/** First token in the flat batch, and how many. */
	token: number;
	tokens: number;
	/** Row of the conditioning tables (modulation, pooled text). */
	cond: number;
	/** Rotary position of the row's first token. */
	rope: number;
	/** Keys this row attends to: first and count, in the key/value buffer. */
	key: number;
	keys: number;
	/** Where in the cache its own keys go, or NOWHERE. */
	append: number;
	/** Where kept tokens stand: 1 + the first of their positions in a table of those. Absent: one after the other. */
	kept?: number;
}
export interface RowTable {
	rows: readonly Row[];
	tokens: number;
	/** u32 [tokens]: row of each token. */
	tokenRow: Tensor;
	/** Row structs. */
	table: Tensor;
}

/** For rows whose keys no later step needs. */
export const NOWHERE = 0xffff_ffff;

/** WGSL of one Row; `rows[tokenRow[t]]` is the row of token t. */
export const ROW = `struct Row { token: u32, tokens: u32, cond: u32, rope: u32, key: u32, keys: u32, append: u32, kept: u32 }`;

/** `tokenRow`: that of another table of this pass with the same rows over the same tokens, to share it. */
export function rowTable(pass: Pass, rows: readonly Row[], tokenRow = tokenRows(pass, rows)): RowTable {
	const tokens = rows.reduce((sum, row) => sum + row.tokens, 0);
	const table = rows.flatMap(({ token, tokens, cond, rope, key, keys, append, kept = 0 }) => [
		token,
		tokens,
		cond,
		rope,
		key,
		keys,
		append,
		kept,
	]);
	return { rows, tokens, tokenRow, table: pass.table(table) };
}

function tokenRows(pass: Pass, rows: readonly Row[]): Tensor {
	const words = new Uint32Array(rows.reduce((sum, row) => sum + row.tokens, 0));
	rows.forEach((row, index) => words.fill(index, row.token, row.token + row.tokens));
	return pass.table(words);
}

/** Workgroups of `size` threads that cover `threads`. */
export const groups = (threads: number, size = 64) => Math.ceil(threads / size);

const MOST = 32768;
/**
 * Workgroups of 64 that cover any number of threads, in x and y (a dimension holds 65535 at most). `FLAT` is their
 * thread's index.
 */
export const flatGroups = (threads: number): [number, number] => [
	Math.min(groups(threads), MOST),
	Math.ceil(groups(threads) / MOST),
];
export const FLAT = `(id.y * ${MOST * 64}u + id.x)`;
