/** Files and folders that must not outlive the process, however it ends (but by SIGKILL). */
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const doomed = new Set<string>();

function remove(path: string): void {
	doomed.delete(path);
	rmSync(path, { recursive: true, force: true });
}

/** The path is removed when it is disposed of, or when the process ends, whichever comes first. */
export class Temporary implements Disposable {
	static #watching = false;
	readonly path: string;

	constructor(path: string) {
		this.path = path;
		doomed.add(path);
		if (!Temporary.#watching) process.on("exit", () => doomed.forEach(remove));
		Temporary.#watching = true;
	}

	/** It is no longer there, or no longer temporary. */
	keep(): void {
		doomed.delete(this.path);
	}

	[Symbol.dispose](): void {
		if (doomed.has(this.path)) remove(this.path);
	}
}

/** A new folder among the system's temporary ones; `prefix` is the beginning of its name. */
export const temporaryFolder = async (prefix: string): Promise<Temporary> =>
	new Temporary(await mkdtemp(join(tmpdir(), prefix)));
