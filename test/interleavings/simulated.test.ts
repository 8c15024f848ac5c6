/** Some of the orders that `npm run test:interleavings` plays by thousands. Clocks are a process's own. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";

const script = join(import.meta.dirname, "simulated.ts");
const play = (...args: string[]) => promisify(execFile)(process.execPath, [script, ...args]);

it("whatever workers, readers and alarms do, nothing is lost, repeated or left behind", async () => {
	expect((await play("--runs", "150")).stdout).toMatch(/^150 orders in/);
});
