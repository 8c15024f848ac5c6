import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { Gpu } from "./gpu.ts";
import { kernel, write } from "./kernel.ts";
import { openGpu } from "./native/open.ts";
import { type DeviceClock, Profiler } from "./profile.ts";

let gpu: Gpu;
beforeAll(async () => {
	gpu = await openGpu();
});
afterEach(() => {
	gpu.profiler = undefined;
	vi.restoreAllMocks();
});
afterAll(() => gpu.destroy());

/** Adds one to the first word, so many times over. */
const COUNT = kernel({
	name: "count",
	params: { turns: "u32" },
	bindings: { y: write("u32") },
	code: () => "@compute @workgroup_size(1) fn main() { for (var i = 0u; i < p.turns; i++) { y[0] += 1u; } }",
});

/** Submits dispatches of these labels, each with so many turns, and reads what they counted. */
async function count(turns: readonly (readonly [label: string, turns: number])[]): Promise<number> {
	const y = gpu.tensor("y", [4]);
	const pass = gpu.pass("counting");
	for (const [label, each] of turns) pass.run(COUNT, { label, params: { turns: each }, bindings: { y }, groups: [1] });
	const [data] = await pass.submit([y]);
	gpu.free(y);
	return new Uint32Array(data)[0];
}

const clocks: DeviceClock[] = ["timestamps", "submissions", "none"];

describe.each(clocks)("by %s", (clock) => {
	test("the work is the same, and each of its labels is counted in order", async ({ skip }) => {
		if (clock === "timestamps" && !gpu.device.features.has("timestamp-query")) skip("the adapter has no clock");
		await count([["warm", 1]]);
		const bytes = gpu.bytes;
		gpu.profiler = new Profiler(gpu.device, clock);
		expect(
			await count([
				["long", 20_000_000],
				["short", 1],
				["short", 2],
				["long", 20_000_000],
			]),
		).toBe(40_000_003);
		const [times, ...others] = await gpu.profiler.take();
		expect(others).toEqual([]);
		expect(gpu.bytes).toBe(bytes);
		expect(times.label).toBe("counting");
		expect(times.runs.map(({ label, dispatches }) => [label, dispatches])).toEqual(
			clock === "submissions"
				? [
						["long", 1],
						["short", 2],
						["long", 1],
					]
				: [
						["long", 1],
						["short", 1],
						["short", 1],
						["long", 1],
					],
		);
		const { record, encode, submit, copy } = times.host;
		for (const part of [record, encode, submit, copy]) expect(part).toBeGreaterThan(0);
		const milliseconds = times.runs.map(({ milliseconds }) => milliseconds);
		if (clock === "none") expect(milliseconds).toEqual([null, null, null, null]);
		else {
			const [first, ...rest] = milliseconds as number[];
			const last = rest.pop() as number;
			// Millions of turns take longer than three, and no longer than until they were read.
			expect(Math.min(first, last)).toBeGreaterThan(Math.max(...rest));
			expect(first + last).toBeLessThanOrEqual(times.wait + encode + submit + 1);
		}
		expect(await gpu.profiler.take()).toEqual([]);
	});
});

test("without a profiler, or without a clock, there is one pass and no query", async () => {
	const encoders = vi.spyOn(gpu.device, "createCommandEncoder");
	const queries = vi.spyOn(gpu.device, "createQuerySet");
	for (const profiler of [undefined, new Profiler(gpu.device, "none")]) {
		gpu.profiler = profiler;
		encoders.mockClear();
		await count([
			["a", 1],
			["b", 1],
		]);
		expect(encoders).toHaveBeenCalledTimes(1);
	}
	expect(queries).not.toHaveBeenCalled();
});

test("more dispatches than one set of queries holds", async ({ skip }) => {
	if (!gpu.device.features.has("timestamp-query")) skip("the adapter has no clock");
	gpu.profiler = new Profiler(gpu.device, "timestamps");
	const turns = Array.from({ length: 2100 }, (_, i): [string, number] => [`dispatch ${i}`, i === 2080 ? 1_000_000 : 1]);
	expect(await count(turns)).toBe(1_002_099);
	const [{ runs }] = await gpu.profiler.take();
	expect(runs).toHaveLength(2100);
	const times = runs.map(({ milliseconds }) => milliseconds as number);
	expect(times.every((milliseconds) => milliseconds >= 0)).toBe(true);
	expect(times[2080]).toBeGreaterThan(10 * times.toSorted((a, b) => a - b)[1050]);
});

test("submissions of several passes in flight are told apart", async () => {
	gpu.profiler = new Profiler(gpu.device);
	const [a, b] = await Promise.all([count([["a", 1]]), count([["b", 2]])]);
	expect([a, b]).toEqual([1, 2]);
	expect((await gpu.profiler.take()).map(({ runs }) => runs.map(({ label }) => label))).toEqual([["a"], ["b"]]);
});
