import { expect, test } from "vitest";
import type { Entry, Row } from "./peers/compare.ts";
import { peersText, ratio, table } from "./tables.ts";

test("tables align, numbers to the right", () => {
	expect(
		table([
			{ name: "a", n: 5 },
			{ name: "longer", n: 1200 },
		]),
	).toBe("name       n\n------  ----\na          5\nlonger  1200");
	expect(table([])).toBe("");
});

const entry = (runtime: string, milliseconds: number, cpu = false): Entry => ({
	runtime,
	cpu,
	how: "way",
	samples: [milliseconds],
	milliseconds,
	gflops: 1 / milliseconds,
	error: 1e-6,
});
const row: Row = {
	name: "matmul",
	gflop: 1,
	entries: [
		entry("Firstlight", 10),
		entry("onnxruntime-node", 80),
		entry("onnxruntime-web", 55),
		entry("onnxruntime-node cpu", 1, true),
	],
	notes: ["TensorFlow.js: no adapter"],
};

test("the faster ONNX Runtime counts, its CPU provider does not", () => {
	expect(ratio(row.entries, /^onnxruntime/)).toBe("5.5x");
	expect(ratio(row.entries, /^TensorFlow/)).toBe("");
});

test("a row without entries is told in the notes alone, and what holds for several rows once", () => {
	const text = peersText([
		row,
		{ ...row, name: "other" },
		{ name: "huge", gflop: 1e5, entries: [], notes: ["Firstlight: left out"] },
	]);
	expect(text).toContain("- TensorFlow.js: no adapter (matmul; other)");
	expect(text).toContain("- Firstlight: left out (huge)");
	expect(text.split("\n").filter((line) => line.startsWith("huge"))).toEqual([]);
});
