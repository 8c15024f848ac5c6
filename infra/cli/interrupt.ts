/**
 * Ctrl-C: the first one aborts the signal that every long command carries, and a moment later the process ends,
 * whatever it is at; the second one ends it at once. What must be put right then (the terminal, half files) hangs on
 * the process's `exit`.
 */
import { constants } from "node:os";

/** What a command has, once interrupted, to come to a good end. */
const GRACE_MS = 1000;
/** A simulation in virtual time puts another in its place. */
const { setTimeout } = globalThis;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** The signal of this process. Its reason is an AbortError; the exit code is set as shells have it, 130 for Ctrl-C. */
export function interruptSignal(): AbortSignal {
	const abort = new AbortController();
	for (const name of SIGNALS)
		process.on(name, () => {
			process.exitCode = 128 + constants.signals[name];
			if (abort.signal.aborted) process.exit();
			const what = name === "SIGINT" ? "Interrupted." : `Ended by ${name}.`;
			process.on("exit", () => process.stderr.write(`${what}\n`));
			setTimeout(() => process.exit(), GRACE_MS);
			abort.abort();
		});
	return abort.signal;
}
