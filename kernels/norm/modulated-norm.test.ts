import { expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, maxError, words } from "../testing.ts";
import { type Row, rowTable } from "../tokens/rows.ts";
import { modulatedNorm } from "./modulated-norm.ts";

const gpu = await sharedGpu();

const [TOKENS, WIDTH, STRIDE, EPS] = [70, 44, 132, 1e-6];
const ROWS: Row[] = [
	[0, 3, 2],
	[3, 66, 0],
	[69, 1, 1],
].map(([token, tokens, cond]) => ({ token, tokens, cond, rope: 0, key: 0, keys: 0, append: 0 }));

test.each([
	{ centred: false, affine: "weight", of: "rows", lanes: 1 },
	{ centred: false, affine: "weight", of: "rows", lanes: 64 },
	{ centred: true, affine: "both", of: "tokens", lanes: 1 },
	{ centred: true, affine: "both", of: "tokens", lanes: 64 },
	{ centred: true, affine: "none", of: "tokens", lanes: 1 },
	{ centred: true, affine: "none", of: "rows", lanes: 1 },
	{ centred: true, affine: "none", of: "rows", lanes: 64 },
] as const)(
	"centred $centred, affine $affine, modulated by $of, $lanes lanes: against f64; a row alone gives the same bits",
	async ({ centred, affine, of, lanes }) => {
		using bench = new Bench(gpu);
		const x = bench.random(TOKENS, WIDTH);
		const [weight, bias] = [bench.random(WIDTH), bench.random(WIDTH)];
		const table = bench.random(of === "rows" ? 3 : TOKENS, STRIDE);
		const run = async (from: number, rows: Row[]) => {
			const tokens = rows.reduce((sum, { tokens }) => sum + tokens, 0);
			const part = bench.put(x.data.slice(from * WIDTH, (from + tokens) * WIDTH)).tensor;
			const modulation = of === "rows" ? table.tensor : bench.put(table.data.slice(from * STRIDE)).tensor;
			const y = bench.empty(tokens, WIDTH);
			const record = {
				x: part,
				y,
				tokens,
				width: WIDTH,
				eps: EPS,
				centred,
				lanes,
				table: modulation,
				stride: STRIDE,
				scale: 2 * WIDTH,
				shift: WIDTH,
				label: "norm",
				...(affine !== "none" && { weight: weight.tensor }),
				...(affine === "both" && { bias: bias.tensor }),
			};
			return (
				await bench.run(
					(pass) => modulatedNorm(pass, { ...record, ...(of === "rows" && { rows: rowTable(pass, rows) }) }),
					y,
				)
			)[0];
		};
		const batch = await run(0, ROWS);
		const expected = Float64Array.from(batch, (_, at) => {
			const [t, c] = [Math.floor(at / WIDTH), at % WIDTH];
			const token = [...x.data.subarray(t * WIDTH, (t + 1) * WIDTH)];
			const mean = centred ? token.reduce((a, b) => a + b, 0) / WIDTH : 0;
			const normed = (token[c] - mean) / Math.sqrt(token.reduce((sum, v) => sum + (v - mean) ** 2, 0) / WIDTH + EPS);
			const value = normed * (affine === "none" ? 1 : weight.data[c]) + (affine === "both" ? bias.data[c] : 0);
			const row =
				of === "tokens" ? t : (ROWS.find(({ token, tokens }) => t >= token && t < token + tokens) as Row).cond;
			return value * (1 + table.data[row * STRIDE + 2 * WIDTH + c]) + table.data[row * STRIDE + WIDTH + c];
		});
		expect(maxError(batch, expected)).toBeLessThan(2e-5);
		for (const row of ROWS)
			expect(words(await run(row.token, [{ ...row, token: 0 }]))).toEqual(
				words(batch.slice(row.token * WIDTH, (row.token + row.tokens) * WIDTH)),
			);
	},
);
