import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Gpu } from "../gpu.ts";
import { kernel, write } from "../kernel.ts";
import { slowDawnPolls } from "./dawn-events.ts";
import { openGpu } from "./open.ts";

let gpu: Gpu;
beforeAll(async () => {
	gpu = await openGpu();
});
afterAll(() => gpu.destroy());

/** One invocation that goes on for about a nanosecond a turn. */
const SPIN = kernel({
	name: "spin",
	params: { turns: "u32" },
	bindings: { y: write("u32") },
	code: () => `
@compute @workgroup_size(1) fn main() {
	var x = 1u;
	for (var i = 0u; i < p.turns; i++) { x = x * 1664525u + 1013904223u; }
	y[0] = x;
}`,
});

/** Waits for the device to spin; the milliseconds that passed, and those that this thread was busy. */
async function waitFor(turns: number): Promise<{ wall: number; busy: number }> {
	const y = gpu.tensor("y", [4]);
	const pass = gpu.pass("spin");
	pass.run(SPIN, { label: "spin", params: { turns }, bindings: { y }, groups: [1] });
	const [begun, before] = [performance.now(), process.threadCpuUsage()];
	await pass.submit([y]);
	const { user, system } = process.threadCpuUsage(before);
	gpu.free(y);
	return { wall: performance.now() - begun, busy: (user + system) / 1000 };
}

describe("while a software adapter computes", () => {
	test("the host sleeps between a few polls a millisecond apart", async ({ skip }) => {
		if (!gpu.facts.software) skip("the adapter is a GPU, whose answers may be nearer than a millisecond");
		await waitFor(1);
		const { wall: once } = await waitFor(50_000_000);
		const timers = vi.spyOn(globalThis, "setTimeout");
		const { wall, busy } = await waitFor(Math.ceil((50_000_000 * 500) / once));
		const polls = timers.mock.calls.filter(([, delay]) => delay === 1).length;
		vi.restoreAllMocks();
		expect(wall).toBeGreaterThan(100);
		// A binding that polls without end keeps its thread busy all the time, some hundred polls a millisecond.
		expect(busy / wall).toBeLessThan(0.5);
		expect(polls).toBeGreaterThan(0);
		expect(polls).toBeLessThanOrEqual(wall + 10);
	});
});

test("nobody else who asks for setImmediate waits, and asking twice changes nothing", async () => {
	slowDawnPolls();
	const patient = globalThis.setImmediate;
	slowDawnPolls();
	expect(globalThis.setImmediate).toBe(patient);
	const timers = vi.spyOn(globalThis, "setTimeout");
	await new Promise((resolve) => setImmediate(resolve));
	expect(await new Promise((resolve) => setImmediate((a, b) => resolve([a, b]), 1, 2))).toEqual([1, 2]);
	expect(await new Promise((resolve) => setImmediate(resolve.bind(undefined, "bound")))).toBe("bound");
	const never = setImmediate(() => expect.fail("it was cleared"));
	clearImmediate(never);
	await new Promise((resolve) => setImmediate(resolve));
	expect(timers).not.toHaveBeenCalled();
	vi.restoreAllMocks();
});
