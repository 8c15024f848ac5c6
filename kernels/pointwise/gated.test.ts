import { expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, maxError } from "../testing.ts";
import { addGated, siluOfSum } from "./gated.ts";

const gpu = await sharedGpu();

const silu = (v: number) => v / (1 + Math.exp(-v));
const [TOKENS, WIDTH] = [67, 36];
const wide = (data: Float32Array<ArrayBuffer>) => data.map((v) => v * 6);

test("siluOfSum: a row of the table joins every token", async () => {
	using bench = new Bench(gpu);
	const x = bench.put(wide(bench.random(TOKENS, WIDTH).data));
	const table = bench.random(3, WIDTH);
	const y = bench.empty(TOKENS, WIDTH);
	const [out] = await bench.run(
		(pass) =>
			siluOfSum(pass, { x: x.tensor, table: table.tensor, row: 2, y, tokens: TOKENS, width: WIDTH, label: "silu" }),
		y,
	);
	expect(
		maxError(
			out,
			Float64Array.from(x.data, (v, i) => silu(v + table.data[2 * WIDTH + (i % WIDTH)])),
		),
	).toBeLessThan(2e-6);
});

test("addGated: every token has a gate of its own", async () => {
	using bench = new Bench(gpu);
	const [x, y] = [bench.random(TOKENS, WIDTH), bench.random(TOKENS, WIDTH)];
	const stride = 3 * WIDTH;
	const gates = bench.random(TOKENS, stride);
	const [out] = await bench.run(
		(pass) =>
			addGated(pass, {
				x: x.tensor,
				gates: gates.tensor,
				stride,
				at: 2 * WIDTH,
				y: y.tensor,
				tokens: TOKENS,
				width: WIDTH,
				label: "gated",
			}),
		y.tensor,
	);
	const expected = Float64Array.from(
		y.data,
		(v, i) => v + gates.data[Math.floor(i / WIDTH) * stride + 2 * WIDTH + (i % WIDTH)] * x.data[i],
	);
	expect(maxError(out, expected)).toBeLessThan(1e-6);
});
