/** Edge and worker as two processes that can be taken away and brought back, one by one. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WRANGLER_ENV, wrangler } from "../../infra/cli/wrangler.ts";
import { freePort } from "../../infra/start/free-port.ts";

const root = join(import.meta.dirname, "..", "..");
const SECRET = "a-secret-for-tests-0123456789";

export class Parts {
	readonly url: string;
	readonly state = mkdtempSync(join(tmpdir(), "firstlight-parts-"));
	readonly log: string[] = [];
	#port: number;
	#edge: ChildProcess | undefined;
	#worker: ChildProcess | undefined;
	#models: string;

	private constructor(port: number, models: string) {
		this.#port = port;
		this.#models = models;
		this.url = `http://localhost:${port}`;
	}

	/** The edge alone. `models`: what a worker will offer. */
	static async start(models: string, settings: Record<string, string> = {}): Promise<Parts> {
		const parts = new Parts(await freePort(), models);
		const lines = Object.entries({ WORKER_SECRET: SECRET, API_KEYS: "none", ...settings }).map(
			([name, value]) => `${name}=${value}\n`,
		);
		writeFileSync(join(parts.state, "edge.env"), lines.join(""));
		await parts.startEdge();
		return parts;
	}

	/** `main`: another release of it than this checkout's. */
	async startEdge(main?: string): Promise<void> {
		const options = {
			port: String(this.#port),
			"env-file": join(this.state, "edge.env"),
			"persist-to": join(this.state, "edge"),
			"inspector-port": "0",
			"show-interactive-dev-session": "false",
			"log-level": "warn",
		};
		const flags = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
		this.#edge = this.#spawn(wrangler("dev", ...(main ? [main] : []), ...flags), WRANGLER_ENV);
		await this.#until(async () => (await fetch(`${this.url}/healthz`)).status < 600);
	}

	/** Gone at once, with all that it holds in memory. */
	async killEdge(): Promise<void> {
		await kill(this.#edge);
	}

	/** Edge and worker are there and run, whatever was done to them. */
	async both(): Promise<void> {
		if (!runs(this.#edge)) await this.startEdge();
		if (!runs(this.#worker)) this.launchWorker();
		this.goOn();
		await this.#ready();
	}

	/** What a further worker needs to dial this edge. */
	workerSettings(): Record<string, string> {
		return { EDGE_URL: this.url, WORKER_SECRET: SECRET, MODELS: this.#models };
	}

	/** Resolves when it offers its models. */
	async startWorker(): Promise<void> {
		this.launchWorker();
		await this.#ready();
	}

	/** It has yet to load them. */
	launchWorker(): void {
		this.#worker = this.#spawn([process.execPath, join(root, "worker", "gpu", "main.ts")], {
			...this.workerSettings(),
			WORKER_ID: "parts",
		});
	}

	async #ready(): Promise<void> {
		await this.#until(async () => (await fetch(`${this.url}/healthz`)).ok);
	}

	/** What is not there by then never comes, and the log says why. */
	async #until(ready: () => Promise<boolean>): Promise<void> {
		const last = Date.now() + 60_000;
		while (!(await ready().catch(() => false))) {
			if (Date.now() > last) throw new Error(`not ready in a minute:\n${this.log.slice(-40).join("\n")}`);
			await new Promise((resolve) => setTimeout(resolve, 100));
		}
	}

	async killWorker(): Promise<void> {
		await kill(this.#worker);
	}

	/** Lets the worker run in short slices until `there` is true, and leaves it standing still. */
	async slice(there: () => Promise<boolean>): Promise<void> {
		const pid = this.#worker?.pid as number;
		while (!(await there())) {
			process.kill(pid, "SIGCONT");
			await new Promise((resolve) => setTimeout(resolve, 3));
			process.kill(pid, "SIGSTOP");
		}
	}

	/** Leaves the worker standing still. */
	halt(): void {
		process.kill(this.#worker?.pid as number, "SIGSTOP");
	}

	goOn(): void {
		process.kill(this.#worker?.pid as number, "SIGCONT");
	}

	async stop(): Promise<void> {
		await this.killWorker();
		await this.killEdge();
		rmSync(this.state, { recursive: true, force: true });
	}

	#spawn([command, ...args]: string[], env: Record<string, string>): ChildProcess {
		const child = spawn(command, args, {
			cwd: root,
			env: { ...process.env, ...env },
			stdio: ["ignore", "pipe", "pipe"],
			detached: true,
		});
		for (const stream of [child.stdout, child.stderr])
			stream?.on("data", (data) => this.log.push(...String(data).split("\n")));
		return child;
	}
}

function runs(child: ChildProcess | undefined): child is ChildProcess {
	return child !== undefined && child.exitCode === null && child.signalCode === null;
}

async function kill(child: ChildProcess | undefined): Promise<void> {
	if (!runs(child)) return;
	const ended = once(child, "exit");
	process.kill(-(child.pid as number), "SIGKILL");
	await ended;
}
