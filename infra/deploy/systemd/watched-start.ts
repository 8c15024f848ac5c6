/**
 * `npm start` under systemd: tells it when the edge and its workers are ready, and from then on that they are well. An
 * edge that stops answering, or has no worker for longer than the watchdog waits, is started again by systemd.
 */
import { execFile, spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const run = promisify(execFile);
const port = process.env.PORT ?? "8787";
const child = spawn(process.execPath, [join(import.meta.dirname, "..", "..", "start", "start.ts")], {
	stdio: "inherit",
});
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => child.kill(signal));
child.on("exit", (code) => process.exit(code ?? 1));

// Half of what systemd waits; without a watchdog there is nothing to say but that it is ready.
const every = Number(process.env.WATCHDOG_USEC ?? 0) / 1000 / 2;
const tell = (state: string) => run("systemd-notify", [state]).catch((error) => console.error(String(error)));
const well = () =>
	fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(5000) }).then(
		// Without workers of its own, an edge that answers is well.
		(answer) => answer.ok || (process.env.GPU_WORKERS === "0" && answer.status === 503),
		() => false,
	);

while (!(await well())) await sleep(500);
await tell("--ready");
while (every > 0) {
	if (await well()) await tell("WATCHDOG=1");
	await sleep(every);
}
