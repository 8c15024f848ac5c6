import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "../../infra/start/free-port.ts";

const root = join(import.meta.dirname, "..", "..");

/** The real thing, as `npm start` starts it, on a free port. */
export class Firstlight {
	readonly url: string;
	readonly log: string[] = [];
	#child: ChildProcess;
	#state: string;

	private constructor(port: number, child: ChildProcess, state: string) {
		this.#state = state;
		this.url = `http://localhost:${port}`;
		this.#child = child;
		for (const stream of [child.stdout, child.stderr])
			stream?.on("data", (data) => this.log.push(...String(data).split("\n")));
	}

	/** `uid`: the user to start it as, to whom nothing but its state belongs. */
	static async start(settings: Record<string, string>, uid?: number): Promise<Firstlight> {
		const port = await freePort();
		const state = mkdtempSync(join(tmpdir(), "firstlight-e2e-"));
		if (uid !== undefined) chownSync(state, uid, uid);
		const child = spawn(process.execPath, [join(root, "infra", "start", "start.ts")], {
			cwd: root,
			env: { ...process.env, MODELS: "tiny", ...settings, PORT: String(port), STATE_DIR: state },
			stdio: ["ignore", "pipe", "pipe"],
			...(uid !== undefined && { uid, gid: uid }),
		});
		const firstlight = new Firstlight(port, child, state);
		while (!firstlight.log.includes(`Firstlight is ready on ${firstlight.url}`)) {
			if (child.exitCode !== null)
				throw new Error(`npm start ended with ${child.exitCode}:\n${firstlight.log.join("\n")}`);
			await new Promise((resolve) => setTimeout(resolve, 100));
		}
		return firstlight;
	}

	/** A start that ends by itself, and what it said. */
	static tried(settings: Record<string, string>): Promise<{ code: number | null; said: string }> {
		const state = mkdtempSync(join(tmpdir(), "firstlight-e2e-"));
		const env = { ...process.env, STATE_DIR: state, ...settings };
		return new Promise((resolve) =>
			execFile(process.execPath, [join(root, "infra", "start", "start.ts")], { env }, (error, stdout, stderr) => {
				rmSync(state, { recursive: true, force: true });
				resolve({ code: error ? Number(error.code) : 0, said: stdout + stderr });
			}),
		);
	}

	/** Where it keeps its state. */
	get state(): string {
		return this.#state;
	}

	/** What a further worker needs to dial this edge. */
	workerSettings(): Record<string, string> {
		const secret = readFileSync(join(this.#state, "edge.env"), "utf8").split("\n")[0].split("=")[1];
		return { EDGE_URL: this.url, WORKER_SECRET: secret, MODELS: "tiny" };
	}

	/** Runs `npx firstlight` against this edge's state. */
	async cli(...args: string[]): Promise<string> {
		const { stdout } = await promisify(execFile)(process.execPath, [join(root, "infra", "cli", "cli.ts"), ...args], {
			cwd: root,
			env: { ...process.env, ...this.workerSettings(), STATE_DIR: this.#state },
		});
		return stdout;
	}

	/** Process ids of the GPU workers. */
	workers(): number[] {
		return this.descendants()
			.filter(({ command }) => command.includes("worker/gpu/main.ts"))
			.map(({ pid }) => pid);
	}

	descendants(): { pid: number; command: string }[] {
		const rows = execFileSync("ps", ["-eo", "pid=,ppid=,args="], { encoding: "utf8" })
			.trim()
			.split("\n")
			.map((line) => {
				const [, pid, parent, command] = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line) as RegExpExecArray;
				return { pid: Number(pid), parent: Number(parent), command };
			});
		const below = (pid: number): typeof rows =>
			rows.filter(({ parent }) => parent === pid).flatMap((row) => [row, ...below(row.pid)]);
		return below(this.#child.pid as number);
	}

	/** As Ctrl-C does, or another signal; resolves with the exit code. */
	async stop(signal: NodeJS.Signals = "SIGINT"): Promise<number | null> {
		if (this.#child.exitCode !== null || this.#child.signalCode !== null) return this.#child.exitCode;
		const ended = once(this.#child, "exit");
		this.#child.kill(signal);
		const [code] = await ended;
		rmSync(this.#state, { recursive: true, force: true });
		return code as number | null;
	}
}

export interface SseEvent {
	event: string;
	id: string;
	data: Record<string, unknown>;
}

/** Events of a response as they come. */
export async function* sse(response: Response): AsyncGenerator<SseEvent> {
	let text = "";
	for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
		text += chunk;
		for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
			const fields = new Map(
				text
					.slice(0, end)
					.split("\n")
					.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]),
			);
			text = text.slice(end + 2);
			if (fields.has("data"))
				yield {
					event: fields.get("event") ?? "message",
					id: fields.get("id") ?? "",
					data: JSON.parse(fields.get("data") as string),
				};
		}
	}
}
