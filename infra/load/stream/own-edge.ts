/** An edge of our own for a measurement: `npm start` without workers, on a free port; its state is thrown away. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { freePort } from "../../start/free-port.ts";
import { temporaryFolder } from "../../temporary.ts";
import { processesBelow } from "../soak/processes.ts";

export interface OwnEdge extends AsyncDisposable {
	url: string;
	secret: string;
	/** Bytes of memory that workerd takes now; null on a system that does not tell. */
	memory(): number | null;
}

export async function ownEdge(): Promise<OwnEdge> {
	const state = await temporaryFolder("firstlight-stream-");
	const port = String(await freePort());
	const child = spawn(process.execPath, [join(import.meta.dirname, "..", "..", "start", "start.ts")], {
		env: { ...process.env, PORT: port, GPU_WORKERS: "0", STATE_DIR: state.path, HOST: "" },
		stdio: ["ignore", "pipe", "inherit"],
	});
	const exited = once(child, "exit");
	const end = () => child.kill("SIGINT");
	process.once("exit", end);
	for await (const line of createInterface({ input: child.stdout })) if (line.includes("is ready on")) break;
	if (child.exitCode !== null) throw new Error(`the edge ended with ${child.exitCode}`);
	const secret = readFileSync(join(state.path, "edge.env"), "utf8").trim().split("=")[1];
	return {
		url: `http://localhost:${port}`,
		secret,
		memory: () => memoryBelow(child.pid as number),
		async [Symbol.asyncDispose]() {
			process.off("exit", end);
			end();
			await exited;
			state[Symbol.dispose]();
		},
	};
}

/** Of the workerd that a process has started, itself or by others. */
function memoryBelow(ancestor: number): number | null {
	if (!existsSync("/proc/self/status")) return null;
	const found = processesBelow(ancestor).filter(({ kind }) => kind === "workerd");
	return found.length > 0 ? Math.max(...found.map(({ residentBytes }) => residentBytes)) : null;
}
