/** The real command line in a process of its own, for tests: by pipes, or in a pseudo-terminal. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const CLI = join(import.meta.dirname, "cli.ts");

export interface Ended {
	code: number;
	stdout: string;
	stderr: string;
}

/** Runs a command to its end, which may be a bad one. */
export const firstlight = (args: readonly string[], env: Record<string, string> = {}): Promise<Ended> =>
	new Promise((resolve) => {
		const options = { env: { ...process.env, ...env }, maxBuffer: 2 ** 26 };
		execFile(process.execPath, [CLI, ...args], options, (error, stdout, stderr) =>
			resolve({ code: error ? Number(error.code) : 0, stdout, stderr }),
		);
	});

/** A command that is interrupted; it ends with the test that began it. */
export class Running implements Disposable {
	/** What it wrote, stdout and stderr. */
	text = "";
	#child: ChildProcess;
	#ended: Promise<unknown>;

	private constructor(command: string, args: readonly string[]) {
		this.#child = spawn(command, args, { stdio: "pipe" });
		for (const stream of [this.#child.stdout, this.#child.stderr])
			stream?.on("data", (data: Buffer) => (this.text += data.toString()));
		this.#ended = once(this.#child, "close");
	}

	static byPipes(...args: string[]): Running {
		return new Running(process.execPath, [CLI, ...args]);
	}

	/** `script` of util-linux gives it a terminal of its own, and hands on its exit code. */
	static onTerminal(...args: string[]): Running {
		const quoted = [process.execPath, CLI, ...args].map((arg) => `'${arg}'`).join(" ");
		return new Running("script", ["--quiet", "--return", "--command", quoted, "/dev/null"]);
	}

	/** Until `ready` holds. Throws with what was written when the command ends before. */
	async until(ready: (text: string) => boolean): Promise<void> {
		while (!ready(this.text)) {
			if (this.#child.exitCode !== null || this.#child.signalCode !== null)
				throw new Error(`It ended by itself:\n${this.text}`);
			await sleep(10);
		}
	}

	[Symbol.dispose](): void {
		this.#child.kill("SIGKILL");
	}

	/** Ctrl-C on its terminal, or a signal where it has none; gives its exit code and how many milliseconds it took. */
	async interrupt(signal?: NodeJS.Signals): Promise<{ code: number | null; milliseconds: number }> {
		const begun = performance.now();
		if (signal) this.#child.kill(signal);
		else this.#child.stdin?.write("\x03");
		await this.#ended;
		return { code: this.#child.exitCode, milliseconds: performance.now() - begun };
	}
}
