import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Gpu } from "../gpu.ts";
import { kernel, write } from "../kernel.ts";
import { pauseAfter } from "./dawn-events.ts";
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

/** The milliseconds that pass meanwhile, and those that this thread is busy. */
async function during(work: () => Promise<unknown>): Promise<{ wall: number; busy: number }> {
	const [begun, before] = [performance.now(), process.threadCpuUsage()];
	await work();
	const { user, system } = process.threadCpuUsage(before);
	return { wall: performance.now() - begun, busy: (user + system) / 1000 };
}

/** Waits for the device to spin. */
async function waitFor(turns: number): Promise<{ wall: number; busy: number }> {
	const y = gpu.tensor("y", [4]);
	const pass = gpu.pass("spin");
	pass.run(SPIN, { label: "spin", params: { turns }, bindings: { y }, groups: [1] });
	const times = await during(() => pass.submit([y]));
	gpu.free(y);
	return times;
}

test("a poll is late by at most an eighth of the wait, a millisecond at most, and the first ones by nothing", () => {
	for (let passed = 0; passed < 50; passed += 0.01) {
		expect(pauseAfter(passed)).toBeLessThanOrEqual(Math.min(passed / 8, 1));
		if (passed >= 0.1) expect(pauseAfter(passed)).toBeGreaterThan(0.01);
	}
	expect(pauseAfter(1e6)).toBe(1);
});

test("while the device computes the host sleeps between a few polls", async () => {
	await waitFor(1);
	const { wall: once } = await waitFor(50_000_000);
	const timers = vi.spyOn(globalThis, "setTimeout");
	const naps = vi.spyOn(Atomics, "wait");
	const { wall, busy } = await waitFor(Math.ceil((50_000_000 * 500) / once));
	const polls = timers.mock.calls.length + naps.mock.calls.length;
	vi.restoreAllMocks();
	expect(wall).toBeGreaterThan(100);
	// A binding that polls without end keeps its thread busy all the time, some hundred polls a millisecond.
	expect(busy / wall).toBeLessThan(0.25);
	expect(polls).toBeGreaterThan(0);
	expect(polls).toBeLessThanOrEqual(wall + 100);
});

test("a device that nobody waits for costs nothing, and answers at once again", async () => {
	await waitFor(1);
	const timers = vi.spyOn(globalThis, "setTimeout");
	// Long enough that what collects garbage once does not count as polls.
	const { wall, busy } = await during(() => sleep(3000));
	expect(timers.mock.calls.length).toBeLessThanOrEqual(wall / 100 + 2);
	expect(busy / wall).toBeLessThan(0.02);
	vi.restoreAllMocks();
	// Far below the tenth of a second that an idle device is polled at.
	const waits = [];
	for (let i = 0; i < 5; i++) {
		await sleep(5);
		waits.push((await waitFor(1)).wall);
	}
	expect(Math.min(...waits)).toBeLessThan(50);
});

test("nobody else who asks for setImmediate waits", async () => {
	const timers = vi.spyOn(globalThis, "setTimeout");
	await new Promise((resolve) => setImmediate(resolve));
	expect(await new Promise((resolve) => setImmediate((a, b) => resolve([a, b]), 1, 2))).toEqual([1, 2]);
	expect(await new Promise((resolve) => setImmediate(resolve.bind(undefined, "bound")))).toBe("bound");
	const never = setImmediate(() => expect.fail("it was cleared"));
	clearImmediate(never);
	await new Promise((resolve) => setImmediate(resolve));
	// The device, which nobody waits for, is polled now and then.
	expect(timers.mock.calls.filter(([, delay]) => delay !== 100)).toEqual([]);
	vi.restoreAllMocks();
});
