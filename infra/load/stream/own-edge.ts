/** An edge of our own for a measurement: `npm start` without workers, on a free port; its state is thrown away. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { temporaryFolder } from "../../temporary.ts";

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
	for await (const line of createInterface({ input: child.stdout })) if (line.includes("is ready on")) break;
	if (child.exitCode !== null) throw new Error(`the edge ended with ${child.exitCode}`);
	const secret = readFileSync(join(state.path, "edge.env"), "utf8").trim().split("=")[1];
	return {
		url: `http://localhost:${port}`,
		secret,
		memory: () => memoryBelow(child.pid as number),
		async [Symbol.asyncDispose]() {
			child.kill("SIGINT");
			await exited;
			state[Symbol.dispose]();
		},
	};
}

export async function freePort(): Promise<number> {
	const server = createServer().listen(0, "127.0.0.1");
	await once(server, "listening");
	const { port } = server.address() as { port: number };
	server.close();
	await once(server, "close");
	return port;
}

/** Of the workerd that a process has started, itself or by others. */
function memoryBelow(ancestor: number): number | null {
	if (!existsSync("/proc/self/status")) return null;
	const processes = readdirSync("/proc").flatMap((pid) => {
		try {
			const status = readFileSync(`/proc/${pid}/status`, "utf8");
			const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)`, "m").exec(status)?.[1] ?? "";
			return [{ pid: Number(pid), parent: Number(field("PPid")), name: field("Name"), kib: Number(field("VmRSS")) }];
		} catch {
			return [];
		}
	});
	const below = (pid: number): typeof processes =>
		processes.filter(({ parent }) => parent === pid).flatMap((each) => [each, ...below(each.pid)]);
	const found = below(ancestor).filter(({ name }) => name.startsWith("workerd"));
	return found.length > 0 ? 1024 * Math.max(...found.map(({ kib }) => kib)) : null;
}
