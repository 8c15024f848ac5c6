import { expect, test } from "vitest";
import { sharedGpu } from "../gpu/native/testing.ts";
import { Bench, maxError } from "../testing.ts";
import { poolRows } from "./pool.ts";

const gpu = await sharedGpu();

test.each(["mean", "max"] as const)("%s of the rows named, in any order, by channel", async (how) => {
	using bench = new Bench(gpu);
	const [rows, width] = [40, 260];
	// All below zero, so that a greatest value that began at zero would show.
	const x = bench.put(bench.random(rows, width).data.map((v) => v - 2));
	const of = [[39, 0, 7], [5], Array.from({ length: rows }, (_, i) => i)];
	const y = bench.empty(of.length, width);
	const [out] = await bench.run((pass) => poolRows(pass, { x: x.tensor, y, how, width, of, label: "pool" }), y);
	const expected = Float64Array.from(out, (_, at) => {
		const values = of[Math.floor(at / width)].map((row) => x.data[row * width + (at % width)]);
		return how === "max" ? Math.max(...values) : values.reduce((a, b) => a + b, 0) / values.length;
	});
	expect(maxError(out, expected)).toBeLessThan(how === "max" ? 1e-9 : 2e-6);
});
