import { expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, words } from "../testing.ts";
import type { ReduceRow } from "./project.ts";
import { clearOthers, gatherSelected, scatterRows, spreadSelected } from "./selected.ts";

const gpu = await sharedGpu();

/**
 * Rows of different lengths with different counts, one reduced to a token and one kept whole; their outputs lie in
 * another order.
 */
const ROWS: ReduceRow[] = [
	{ token: 0, tokens: 7, out: 13, count: 3, draw: 16 },
	{ token: 7, tokens: 70, out: 0, count: 11, draw: 3 },
	{ token: 77, tokens: 5, out: 16, count: 5, draw: 19 },
	{ token: 82, tokens: 9, out: 12, count: 1, draw: 15 },
].map((row) => ({ ...row, seed: 0, scale: 0, stream: 0, columns: row.tokens }));
const [TOKENS, OUT] = [91, 21];
/** Different ones within a row. */
const POSITIONS = new Uint32Array(OUT + 3);
for (const { tokens, draw, count } of ROWS) for (let k = 0; k < count; k++) POSITIONS[draw + k] = (k * 3 + 1) % tokens;
/** Token of every selected one, and where it goes. */
const KEPT = ROWS.flatMap(({ token, out, count, draw }) =>
	Array.from({ length: count }, (_, k) => ({ token: token + POSITIONS[draw + k], out: out + k })),
);

test.each([4, 24])(
	"gatherSelected and scatterRows, width %i: selected tokens from and to their positions, the others untouched",
	async (width) => {
		using bench = new Bench(gpu);
		const positions = bench.put(POSITIONS).tensor;
		const [short, full] = [bench.random(OUT, width), bench.random(TOKENS, width)];
		const [gathered, scattered] = [bench.put(short.data.slice()), bench.put(full.data.slice())].map(
			({ tensor }) => tensor,
		);
		const outputs = await bench.run(
			(pass) => {
				gatherSelected(pass, { x: full.tensor, positions, y: gathered, width, rows: ROWS, label: "gather" });
				scatterRows(pass, { x: short.tensor, positions, y: scattered, width, rows: ROWS, label: "scatter" });
			},
			gathered,
			scattered,
		);
		const expected = [short.data.slice(), full.data.slice()];
		for (const { token, out } of KEPT) {
			expected[0].set(full.data.subarray(token * width, (token + 1) * width), out * width);
			expected[1].set(short.data.subarray(out * width, (out + 1) * width), token * width);
		}
		expect(outputs.map(words)).toEqual(expected.map(words));
	},
);

test.each([1, 3])(
	"spreadSelected and clearOthers, %i words a token: zeros but where tokens are selected, nothing outside of the rows",
	async (size) => {
		using bench = new Bench(gpu);
		const positions = bench.put(POSITIONS).tensor;
		// The short rows lie behind all tokens, with a few words after them.
		const x = bench.random(TOKENS + OUT + 2, size);
		const cleared = bench.put(x.data.slice()).tensor;
		const rows = ROWS.map((row) => ({ ...row, out: TOKENS + row.out }));
		const outputs = await bench.run(
			(pass) => {
				spreadSelected(pass, { x: x.tensor, positions, words: size, rows, label: "spread" });
				clearOthers(pass, { x: cleared, positions, words: size, rows, label: "clear" });
			},
			x.tensor,
			cleared,
		);
		const expected = [x.data.slice().fill(0, 0, TOKENS * size), x.data.slice().fill(0, 0, TOKENS * size)];
		for (const { token, out } of KEPT) {
			expected[0].set(x.data.subarray((TOKENS + out) * size, (TOKENS + out + 1) * size), token * size);
			expected[1].set(x.data.subarray(token * size, (token + 1) * size), token * size);
		}
		expect(outputs.map(words)).toEqual(expected.map(words));
	},
);
