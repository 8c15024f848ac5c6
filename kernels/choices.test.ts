import { afterAll, beforeEach, expect, test } from "vitest";
import { keptTuning, loadTuning } from "./choices.ts";
import { sharedGpu } from "./gpu/native/testing.ts";
import type { TuningStore } from "./gpu/tuning-store.ts";
import type { Tuning } from "./gpu/variants.ts";

const gpu = await sharedGpu();
const { tuning, tuningStore } = gpu;
beforeEach(() => Object.assign(gpu, { tuning: {} }));
afterAll(() => Object.assign(gpu, { tuning, tuningStore }));

const SHAPES = { matmul: [{ m: 1, k: 8, n: 8 }], conv: [], attention: [] };

/** Keeps as long as the process. */
function memory(): TuningStore & { kept: Map<string, Tuning> } {
	const kept = new Map<string, Tuning>();
	return {
		kept,
		read: (adapter, kernels) => kept.get(`${adapter} ${kernels}`) ?? {},
		write: (adapter, kernels, tuning) => void kept.set(`${adapter} ${kernels}`, tuning),
	};
}

test("a software adapter is measured only on demand; then only what is missing, and kept", async () => {
	const store = memory();
	gpu.tuningStore = store;
	await loadTuning(gpu, SHAPES);
	if (gpu.facts.software) expect(gpu.tuning).toEqual({});
	await loadTuning(gpu, SHAPES, { measure: "missing" });
	expect(Object.keys(gpu.tuning)).toEqual(["matmul 8x8 m1"]);
	const [[adapter]] = store.kept;
	expect(adapter).toContain(gpu.facts.driver);
	store.kept.set(adapter, { "matmul 8x8 m1": "tile 16x8" });
	gpu.tuning = {};
	const more = { ...SHAPES, matmul: [...SHAPES.matmul, { m: 2, k: 8, n: 8 }] };
	expect(Object.keys(await loadTuning(gpu, more, { measure: "missing" }))).toEqual(["matmul 8x8 m2"]);
	expect(gpu.tuning["matmul 8x8 m1"]).toBe("tile 16x8");
	expect(Object.keys(gpu.tuning)).toEqual(["matmul 8x8 m1", "matmul 8x8 m2"]);
	expect(keptTuning(gpu)).toEqual(gpu.tuning);
});

test("what is in use stays, whatever another process keeps: a model that is open has its bits by it", async () => {
	const store = memory();
	gpu.tuningStore = store;
	const [order, variant] = ["order matmul f16 8x8", "matmul 8x8 m1"];
	gpu.tuning = { [order]: "matrix" };
	await loadTuning(gpu, SHAPES, { measure: "missing" });
	expect(gpu.tuning).toEqual({ [order]: "matrix", [variant]: expect.any(String) });
	const [[adapter]] = store.kept;
	store.kept.set(adapter, { [order]: "plain" });
	await loadTuning(gpu, SHAPES);
	expect(gpu.tuning[order]).toBe("matrix");
});

test("what was measured before it was stopped is kept, and not measured again", async () => {
	const store = memory();
	gpu.tuningStore = store;
	const shapes = { ...SHAPES, matmul: [8, 16].map((n) => ({ m: 1, k: 8, n })) };
	const stopped = (done: number) => {
		if (done === 2) throw new Error("stopped");
	};
	await expect(loadTuning(gpu, shapes, { measure: "missing", progress: stopped })).rejects.toThrow("stopped");
	const [first, second] = ["matmul 8x8 m1", "matmul 8x16 m1"];
	expect([...store.kept.values()].map((tuning) => Object.keys(tuning))).toEqual([[first]]);
	expect(Object.keys(await loadTuning(gpu, shapes, { measure: "missing" }))).toEqual([second]);
	expect(Object.keys(keptTuning(gpu)).sort()).toEqual([first, second].sort());
	// Measured anew and stopped, what was kept stays.
	await expect(loadTuning(gpu, shapes, { measure: "all", progress: stopped })).rejects.toThrow("stopped");
	expect(Object.keys(keptTuning(gpu)).sort()).toEqual([first, second].sort());
});

test("where nothing can be kept, nothing is measured unless it is asked for", async () => {
	gpu.tuningStore = undefined;
	expect(keptTuning(gpu)).toEqual({});
	expect(await loadTuning(gpu, SHAPES)).toEqual({});
	expect(gpu.tuning).toEqual({});
	expect(Object.keys(await loadTuning(gpu, SHAPES, { measure: "all" }))).toEqual(["matmul 8x8 m1"]);
});
