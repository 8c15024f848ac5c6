import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { ENDED } from "../../worker/gpu/exit.ts";
import { giveWay } from "./give-way.ts";
import { logLine } from "./lines.ts";

export interface Child {
	name: string;
	/** A script of ours and its arguments. */
	script: string[];
	cwd: string;
	/** Added to our own environment. */
	env: Record<string, string>;
	/** Start again when it ends by itself. */
	restart?: boolean;
	/** Others go first where all cores are busy. */
	givesWay?: boolean;
	ended?(code: number): void;
	/** What it sends. */
	heard?(message: unknown): void;
}

/** How long a child may take to end before it is killed. */
const GRACE_MS = 12_000;
/** Before it is started again; doubled, up to the most, while it does not stay. */
const RESTART_MS = 1000;
const MOST_RESTART_MS = 30_000;
const STAYED_MS = 60_000;

/**
 * Processes started together, each leading a group of its own, so that all they start ends with them. Each has a
 * channel to us, whose end tells it that we are gone (`endWithParent`).
 */
export class Children {
	#running = new Set<ChildProcess>();
	#stopping = false;

	start(child: Child, pause = RESTART_MS): void {
		const begun = performance.now();
		const spawned = spawn(process.execPath, child.script, {
			cwd: child.cwd,
			env: { ...process.env, ...child.env },
			stdio: ["ignore", "pipe", "pipe", "ipc"],
			detached: true,
		});
		this.#running.add(spawned);
		if (child.givesWay && spawned.pid !== undefined) void giveWay(spawned.pid);
		for (const stream of [spawned.stdout, spawned.stderr])
			if (stream)
				createInterface({ input: stream }).on("line", (line) => {
					const logged = logLine(child.name, line);
					if (logged !== undefined) console.log(logged);
				});
		spawned.on("message", (message) => child.heard?.(message));
		spawned.on("error", (error) => console.error(`[${child.name}] could not start: ${error.message}`));
		spawned.on("exit", (code, signal) => {
			this.#running.delete(spawned);
			if (this.#stopping) return;
			console.error(`[${child.name}] ended (${signal ?? code})`);
			// Killed, it had no time to end what it started.
			if (spawned.pid !== undefined) signalGroup(spawned.pid, "SIGKILL");
			child.ended?.(code ?? 1);
			// Another start would end the same: somebody has to change something first.
			if (!child.restart || code === ENDED.misconfigured) return;
			const next = performance.now() - begun < STAYED_MS ? Math.min(2 * pause, MOST_RESTART_MS) : RESTART_MS;
			setTimeout(() => this.#stopping || this.start(child, next), pause);
		});
	}

	/** Ends every child and what it started; resolves when all are gone. */
	async stop(): Promise<void> {
		this.#stopping = true;
		const groups = [...this.#running].flatMap(({ pid }) => pid ?? []);
		for (const group of groups) signalGroup(group, "SIGTERM");
		// A leader may be gone before what it started: a group counts as ended when nobody in it is left.
		for (const deadline = Date.now() + GRACE_MS; groups.some((group) => signalGroup(group, 0)); ) {
			if (Date.now() > deadline) for (const group of groups) signalGroup(group, "SIGKILL");
			await new Promise((resolve) => setTimeout(resolve, 50));
		}
	}
}

/** False when the group has no process left. */
function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
	try {
		return process.kill(-group, signal);
	} catch {
		return false;
	}
}
