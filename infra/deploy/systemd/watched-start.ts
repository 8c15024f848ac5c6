/**
 * `npm start` under systemd: tells it when the edge and its workers are ready, and from then on that they are well. An
 * edge that stops answering, or has no worker for as long as the watchdog waits, is started again by systemd.
 */
import { execFile, spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { healthOf } from "../../start/health.ts";
import { addressesOf, urlOf } from "../../start/listen.ts";

const run = promisify(execFile);
const { HOST, PORT, GPU_WORKERS } = process.env;
const [address] = HOST ? await addressesOf(HOST) : ["127.0.0.1"];
const url = urlOf(address, Number(PORT || 8787));
const child = spawn(process.execPath, [join(import.meta.dirname, "..", "..", "start", "start.ts")], {
	stdio: "inherit",
});
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => child.kill(signal));
child.on("exit", (code) => process.exit(code ?? 1));

// Half of what systemd waits; without a watchdog there is nothing to say but that it is ready.
const every = Number(process.env.WATCHDOG_USEC ?? 0) / 1000 / 2;
const tell = (state: string) => run("systemd-notify", [state]).catch((error) => console.error(String(error)));
// Without workers of its own, an edge that answers is well.
const well = async () => [200, ...(GPU_WORKERS === "0" ? [503] : [])].includes((await healthOf(url)) ?? 0);

while (!(await well())) await sleep(500);
await tell("--ready");
while (every > 0) {
	const is = await well();
	if (is) await tell("WATCHDOG=1");
	// One that was not is soon asked again: what systemd waits is for an edge that stays so.
	await sleep(is ? every : Math.min(1000, every));
}
