/** Whether the simulation is of a queue at all. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import type { Outcome } from "./simulate.ts";

const run = promisify(execFile);
const cli = join(import.meta.dirname, "..", "..", "cli", "cli.ts");

it("one worker is the queue that Pollaczek and Khinchine knew", async () => {
	// Poisson arrivals, one server: mean wait = u / (1 - u) * service / 2 * (1 + variation), less than a tenth of it.
	const { stdout } = await run(process.execPath, [
		cli,
		...[
			"simulate",
			"--json",
			"--workers",
			"1",
			"--service",
			"1000",
			"--rate",
			"0.5",
			"--seconds",
			"4000",
			"--queue",
			"1000",
		],
	]);
	const outcome = JSON.parse(stdout) as Outcome;
	const service = (outcome.finalMs.mean as number) - (outcome.waitMs.mean as number);
	const use = (0.5 * service) / 1000;
	expect(outcome.utilization).toBeCloseTo(use, 1);
	const expected = (use / (1 - use)) * (service / 2) * 1.01;
	expect((outcome.waitMs.mean as number) / expected).toBeGreaterThan(0.8);
	expect((outcome.waitMs.mean as number) / expected).toBeLessThan(1.2);
});
