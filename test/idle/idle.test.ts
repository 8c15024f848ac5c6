/** A worker that waits for work costs nothing: on Node and on Deno, each with its device open and its edge dialled. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, it } from "vitest";
import { Firstlight, sse } from "../e2e/firstlight.ts";

const MINUTE_MS = 60_000;
/** Of the kernel's clock, on Linux everywhere. */
const TICK_MS = 10;

/** Milliseconds of CPU that a process has used. */
function cpu(pid: number): number {
	const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
	const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
	return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

it("a minute of an idle worker takes less than a hundredth of a core", async () => {
	await using running = new AsyncDisposableStack();
	const firstlight = running.adopt(await Firstlight.start({ GPU_WORKERS: "1" }), async (it) => void (await it.stop()));
	const root = join(import.meta.dirname, "..", "..");
	const deno = spawn(join(root, "node_modules", ".bin", "deno"), ["run", "-A", "worker/gpu/main.ts"], {
		cwd: root,
		env: { ...process.env, ...firstlight.workerSettings(), WORKER_ID: "deno" },
		stdio: ["ignore", "pipe", "inherit"],
	});
	running.defer(() => void deno.kill("SIGTERM"));
	for await (const line of deno.stdout) if (String(line).includes("admitted")) break;
	// Both have made a picture: what waits is a worker that has worked.
	const picture = (seed: number) => fetch(`${firstlight.url}/v1/images/preview?prompt=a+cat&seed=${seed}`);
	await Promise.all([1, 2].map(async (seed) => Array.fromAsync(sse(await picture(seed)))));
	await sleep(2000);
	const workers = { node: firstlight.workers()[0], deno: deno.pid as number };
	const before = Object.entries(workers).map(([runtime, pid]) => ({ runtime, pid, used: cpu(pid) }));
	const begun = performance.now();
	await sleep(MINUTE_MS);
	const passed = performance.now() - begun;
	const shares = Object.fromEntries(before.map(({ runtime, pid, used }) => [runtime, (cpu(pid) - used) / passed]));
	console.log("of a core:", shares);
	for (const share of Object.values(shares)) expect(share).toBeLessThan(0.01);
});
