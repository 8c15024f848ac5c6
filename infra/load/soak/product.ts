/** The product as `npm start` runs it, its state in a folder that is thrown away; it can lose a worker, or all. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { freePort } from "../../start/free-port.ts";
import { temporaryFolder } from "../../temporary.ts";
import { type ProcessSample, processesBelow } from "./processes.ts";

const Health = z.object({ workers: z.array(z.unknown()) });
const START = join(import.meta.dirname, "..", "..", "start", "start.ts");

export class Product implements AsyncDisposable {
	readonly url: string;
	readonly state: string;
	/** What it said last. */
	readonly log: string[] = [];
	readonly #settings: Record<string, string>;
	readonly #folder: Disposable;
	#child: ChildProcess | undefined;
	#wanted = false;

	private constructor(port: number, folder: Disposable & { path: string }, settings: Record<string, string>) {
		this.url = `http://127.0.0.1:${port}`;
		this.state = folder.path;
		this.#folder = folder;
		this.#settings = { ...settings, PORT: String(port), STATE_DIR: folder.path, HOST: "" };
		process.on("exit", () => this.#child?.kill("SIGTERM"));
	}

	/** Resolves when pictures can be made. `settings`: of the environment. Throws where it does not come up. */
	static async start(settings: Record<string, string>): Promise<Product> {
		const product = new Product(await freePort(), await temporaryFolder("firstlight-soak-"), settings);
		await product.up();
		return product;
	}

	async up(): Promise<void> {
		const child = spawn(process.execPath, [START], {
			env: { ...process.env, ...this.#settings },
			stdio: ["ignore", "pipe", "pipe"],
			// Ctrl-C is ours to pass on.
			detached: true,
		});
		this.#child = child;
		this.#wanted = true;
		const ready = Promise.withResolvers<void>();
		for (const stream of [child.stdout, child.stderr])
			createInterface({ input: stream }).on("line", (line) => {
				this.log.push(line);
				if (this.log.length > 200) this.log.shift();
				if (line.includes("is ready on")) ready.resolve();
			});
		child.once("exit", (code) => ready.reject(new Error(`npm start ended with ${code}:\n${this.log.join("\n")}`)));
		await ready.promise;
	}

	/** Resolves when the edge has all workers. */
	async whole(signal: AbortSignal): Promise<void> {
		for (;;) {
			const { workers } = Health.parse(await (await fetch(`${this.url}/healthz`, { signal })).json());
			if (workers.length === Number(this.#settings.GPU_WORKERS)) return;
			await sleep(500, undefined, { signal });
		}
	}

	/** Throws where it has ended without being told to. */
	processes(): ProcessSample[] {
		if (this.#wanted && !this.#lives) {
			const how = this.#child?.signalCode ?? this.#child?.exitCode;
			throw new Error(`npm start ended by itself (${how}):\n${this.log.slice(-20).join("\n")}`);
		}
		return this.#lives ? processesBelow(this.#child?.pid as number) : [];
	}

	/** To the process of that name; false where there is none now. */
	signal(name: string, signal: NodeJS.Signals): boolean {
		const found = this.processes().find((each) => each.name === name);
		if (!found) return false;
		process.kill(found.pid, signal);
		return true;
	}

	/** Everything is gone at once, as when the power is cut. */
	async cutPower(): Promise<void> {
		const all = this.processes();
		const ended = this.#lives && once(this.#child as ChildProcess, "exit");
		this.#wanted = false;
		for (const { pid } of all)
			try {
				process.kill(pid, "SIGKILL");
			} catch {
				// Its parent's end has ended it.
			}
		await ended;
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.#wanted = false;
		if (this.#lives) {
			const ended = once(this.#child as ChildProcess, "exit");
			// One that stands still hears nothing.
			for (const { pid, kind } of this.processes()) if (kind === "worker") process.kill(pid, "SIGCONT");
			this.#child?.kill("SIGTERM");
			await ended;
		}
		this.#folder[Symbol.dispose]();
	}

	get #lives(): boolean {
		return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
	}
}
