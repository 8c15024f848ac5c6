/**
 * The GPU worker's process, on Node or Deno. SIGTERM and SIGINT drain it; its exit code is one of `exit.ts`. It is gone
 * when an `npm start` is.
 */
import { ENDED } from "./exit.ts";
import { endWithParent } from "./parent.ts";
import { readSettings, SettingsError } from "./settings.ts";
import { GpuWorker } from "./worker.ts";

const log = (line: string) => console.log(`[worker] ${line}`);
endWithParent(() => process.exit(1));
try {
	const worker = await GpuWorker.start(readSettings(process.env), log);
	process.on("SIGTERM", () => worker.drain());
	process.on("SIGINT", () => worker.drain());
	// Dawn keeps a process alive and may fail when it is dropped: the device is destroyed by now, so exit.
	process.exit(await worker.ended);
} catch (error) {
	log((error as Error).message);
	process.exit(error instanceof SettingsError ? ENDED.misconfigured : ENDED.failed);
}
