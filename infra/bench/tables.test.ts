import { expect, test } from "vitest";
import type { Entry, Row } from "./peers/compare.ts";
import { infinity2b } from "./random-model.ts";
import { extrapolate } from "./shape.ts";
import { peersText, ratio, table } from "./tables.ts";

test("tables align, numbers to the right", () => {
	expect(table([{ name: "a", n: 5 }, { name: "longer", n: 1200 }])).toBe("name       n\n------  ----\na          5\nlonger  1200");
	expect(table([])).toBe("");
});

const entry = (runtime: string, milliseconds: number, cpu = false): Entry => ({ runtime, cpu, how: "way", samples: [milliseconds], milliseconds, gflops: 1 / milliseconds, error: 1e-6 });
const row: Row = { name: "matmul", gflop: 1, entries: [entry("Firstlight", 10), entry("onnxruntime-node", 80), entry("onnxruntime-web", 55), entry("onnxruntime-node cpu", 1, true)], notes: ["TensorFlow.js: no adapter"] };

test("the faster ONNX Runtime counts, its CPU provider does not", () => {
	expect(ratio(row.entries, /^onnxruntime/)).toBe("5.5x");
	expect(ratio(row.entries, /^TensorFlow/)).toBe("");
});

test("a row without entries is told in the notes alone, and what holds for several rows once", () => {
	const text = peersText([row, { ...row, name: "other" }, { name: "huge", gflop: 1e5, entries: [], notes: ["Firstlight: left out"] }]);
	expect(text).toContain("- TensorFlow.js: no adapter (matmul; other)");
	expect(text).toContain("- Firstlight: left out (huge)");
	expect(text.split("\n").filter((line) => line.startsWith("huge"))).toEqual([]);
});

test("blocks that ran stand for all by their operations; scales that did not, by the rate", () => {
	const [part, whole] = [infinity2b(2), infinity2b(32)];
	const { scales, total_ms } = extrapolate(part, whole, "exact", [10, 20], 1e9);
	expect(scales).toHaveLength(13);
	// The head, run once, keeps it a little under 16.
	expect((scales[1].extrapolated_ms as number) / 20).toBeGreaterThan(15.9);
	expect((scales[1].extrapolated_ms as number) / 20).toBeLessThan(16);
	expect(scales[2].measured_ms).toBeNull();
	// 4x4 in both rows: 117 MFLOP a token and block, and attention.
	expect(scales[2].extrapolated_ms as number).toBeCloseTo(120.4, 0);
	expect(total_ms).toBeCloseTo(scales.reduce((sum, { extrapolated_ms }) => sum + (extrapolated_ms as number), 0));
	expect(extrapolate(part, whole, "exact", [], null).total_ms).toBeNull();
});

test("the published setting of StageVAR: text-free from width 40, low rank there, 48 and 64 left out", () => {
	const { scales } = extrapolate(infinity2b(4), infinity2b(32), "stagevar-skip", [], null);
	expect(scales.map(({ grid }) => grid).at(-1)).toBe("40x40");
	expect(scales.at(-1)?.rows).toBe("uncond, 284 of 1600 tokens");
	expect(scales.at(-2)?.rows).toBe("both");
});
