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

it("one worker is the queue that Pollaczek and Khinchine knew", async () => {
	// Poisson arrivals, one server: mean wait = u / (1 - u) * service / 2 * (1 + variation), less than a tenth of it.
	const outcome = (await simulated(
		...["--workers", "1", "--service", "1000", "--rate", "0.5", "--seconds", "4000", "--queue", "1000"],
	)) as Outcome;
	const service = (outcome.finalMs.mean as number) - (outcome.waitMs.mean as number);
	const use = (0.5 * service) / 1000;
	expect(outcome.utilization).toBeCloseTo(use, 1);
	const expected = (use / (1 - use)) * (service / 2) * 1.01;
	expect((outcome.waitMs.mean as number) / expected).toBeGreaterThan(0.8);
	expect((outcome.waitMs.mean as number) / expected).toBeLessThan(1.2);
});
