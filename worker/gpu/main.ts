/**
 * The GPU worker's process, on Node or Deno. SIGTERM and SIGINT drain it; its exit code is one of `exit.ts`. It is gone
 * when an `npm start` is.
 */
import { setFlagsFromString } from "node:v8";
import { deno } from "../../kernels/gpu/native/deno.ts";
import { ENDED } from "./exit.ts";
import { type Log, workerLog } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { endWithParent } from "./parent.ts";
import { readSettings, SettingsError } from "./settings.ts";
import { GpuWorker } from "./worker.ts";

// Pictures and what is read back lie beside V8's heap, and by itself it lets a hundred MiB of them gather.
if (!deno) setFlagsFromString("--optimize-for-size");

let log: Log = (line) => console.log(`[worker] ${line}`);
endWithParent(() => process.exit(1));
try {
	const settings = readSettings(process.env);
	log = workerLog(settings);
	let metrics: Metrics | undefined;
	if (settings.HEALTH_PORT !== undefined) {
		const { watchedAt } = await import("./health.ts");
		({ metrics } = await watchedAt(settings.HEALTH_PORT, settings.HEALTH_HOST));
	}
	const worker = await GpuWorker.start(settings, log, metrics);
	process.on("SIGTERM", () => worker.drain());
	process.on("SIGINT", () => worker.drain());
	// Dawn keeps a process alive and may fail when it is dropped: the device is destroyed by now, so exit.
	process.exit(await worker.ended);
} catch (error) {
	log((error as Error).message, { level: "error" });
	process.exit(error instanceof SettingsError ? ENDED.misconfigured : ENDED.failed);
}
