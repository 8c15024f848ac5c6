/** The edge's own objects in virtual time, each run in a process of its own: clocks are the process's. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import type { Outcome } from "./simulate.ts";

const run = promisify(execFile);
const cli = join(import.meta.dirname, "..", "..", "cli", "cli.ts");
const simulated = async (...args: string[]): Promise<Outcome | Outcome[]> => {
	const { stdout } = await run(process.execPath, [cli, "simulate", "--json", ...args], { maxBuffer: 2 ** 26 });
	return JSON.parse(stdout);
};

it("workers die, hang, repeat themselves, alarms are late, objects evicted, readers leave: nothing lost", async () => {
	const outcomes = (await simulated("--chaos", "--workers", "4", "--seconds", "60", "--runs", "4")) as Outcome[];
	for (const { broken, thrown, requests, completed, refused, left, errors } of outcomes) {
		expect(broken).toEqual([]);
		expect(thrown).toEqual([]);
		const told = Object.values(errors).reduce((sum, n) => sum + n, 0);
		expect(completed + refused + left + told).toBe(requests);
		expect(completed).toBeGreaterThan(0.8 * (requests - left));
	}
	// Something did go wrong, and was mended.
	expect(Math.max(...outcomes.map(({ waste }) => waste))).toBeGreaterThan(0.01);
});

it("the same seed is the same run", async () => {
	const once = () => simulated("--chaos", "--workers", "3", "--seconds", "30", "--seed", "7");
	expect(await once()).toEqual(await once());
});

it("no worker is busier than all of the time, though the warm-up ends within a second", async () => {
	const args = ["--workers", "20", "--service", "500", "--seconds", "2", "--rate", "100"];
	const { utilization, broken } = (await simulated(...args)) as Outcome;
	expect(broken).toEqual([]);
	expect(utilization).toBeGreaterThan(0.9);
	expect(utilization).toBeLessThanOrEqual(1);
});

it("what comes into the empty house, before all counts, is in no figure", async () => {
	// A minute of warm-up, of twenty seconds a picture; one of what counts.
	const args = ["--workers", "40", "--service", "20000", "--seconds", "60", "--rate", "1.5"];
	const { requests, refused, completed } = (await simulated(...args)) as Outcome;
	expect(requests).toBeGreaterThan(60);
	expect(requests).toBeLessThan(130);
	expect(completed + refused).toBe(requests);
});

it("auto thins its pictures under overload, as the edge does, and so holds more", async () => {
	const asked = (policies: string) =>
		simulated("--model", "emoji-256", "--workers", "2", "--service", "6000", "--rate", "1", "--policies", policies);
	const [auto, exact] = (await Promise.all(["auto", "exact"].map(asked))) as Outcome[];
	expect([...auto.broken, ...exact.broken]).toEqual([]);
	expect(exact.policies).toEqual({ exact: exact.requests - exact.refused });
	expect(auto.policies["stagevar-auto"]).toBeGreaterThan(auto.requests / 2);
	expect(auto.throughput).toBeGreaterThan(1.5 * exact.throughput);
	expect(auto.refused).toBeLessThan(exact.refused / 2);
});

it("where nobody may wait, whoever is let in begins at once, and hardly a slot is idle", async () => {
	const args = ["--workers", "8", "--service", "2000", "--rate", "12", "--queue", "0"];
	const { broken, queueMost, waitMs, refused, requests, utilization } = (await simulated(...args)) as Outcome;
	expect(broken).toEqual([]);
	expect(queueMost).toBe(0);
	expect(waitMs.p95).toBeLessThan(100);
	// Erlang's loss formula: eight lines at three times what they hold carry 95 % of it.
	expect(utilization).toBeGreaterThan(0.92);
	expect(refused / requests).toBeCloseTo(0.68, 1);
});
