/** What a thrown value means to the person at the terminal: a message, a hint, an exit code. */
import { CommanderError } from "@commander-js/extra-typings";
import { UsageError } from "./usage.ts";

export interface Failure {
	/** Empty where nothing went wrong: help and version end a program too. */
	text: string;
	exitCode: number;
}

/** Exit codes: something expected went wrong, the command line is wrong, we are wrong (sysexits' EX_SOFTWARE). */
const [FAILED, USAGE, BUG] = [1, 2, 70];

/** `command`: as it was called, such as `firstlight plan`. */
export function failureOf(error: unknown, command: string): Failure {
	if (error instanceof UsageError) return usage(error.message, error.hint, command);
	if (error instanceof CommanderError) return ofCommander(error, command);
	if (!(error instanceof Error)) return { text: `Something was thrown: ${String(error)}`, exitCode: BUG };
	const stack = process.env.FIRSTLIGHT_DEBUG ? `\n${error.stack ?? ""}` : "";
	const unreached = noConnection(error);
	if (unreached) return { text: `${unreached}${stack}`, exitCode: FAILED };
	if (isOurs(error)) {
		const hint = stack || "\nThis is a fault of Firstlight's. FIRSTLIGHT_DEBUG=1 shows where it happened.";
		return { text: `${error.message || error.name}${hint}`, exitCode: BUG };
	}
	return { text: `${ofSystem(error) ?? error.message}${stack}`, exitCode: FAILED };
}

function usage(message: string, hint: string | undefined, command: string): Failure {
	const help = `${command} --help`;
	return { text: `${message}\n${hint ?? `${help} says what it takes.`}`, exitCode: USAGE };
}

/** "error: unknown option '--sede'\n(Did you mean --seed?)" and the like. */
function ofCommander({ message, code, exitCode }: CommanderError, command: string): Failure {
	if (exitCode === 0) return { text: "", exitCode: 0 };
	const [, what, hint] = /^(?:error: )?(.*?)\.?(?:\n\((.*)\))?$/s.exec(message) as RegExpExecArray;
	const quotes = code === "commander.excessArguments" ? "Put an argument with spaces into quotes." : undefined;
	return usage(`${what[0].toUpperCase()}${what.slice(1)}.`, hint ?? quotes, command);
}

/**
 * The language's own errors, and what only a kernel of ours can cause, are faults; every other error was thrown with a
 * message for people.
 */
const isOurs = (error: Error): boolean =>
	!codeOf(error) &&
	(["TypeError", "ReferenceError", "RangeError", "SyntaxError", "AssertionError", "KernelError"].includes(error.name) ||
		error instanceof DOMException);

const codeOf = (error: Error): unknown => (error as NodeJS.ErrnoException).syscall;

/** What `fetch` throws, a TypeError as a wrong argument is, where nobody answers; undefined for another error. */
function noConnection({ message, cause }: Error): string | undefined {
	if (message !== "fetch failed" || !(cause instanceof Error)) return undefined;
	const { code, hostname, address, port } = cause as NodeJS.ErrnoException & Record<string, string | undefined>;
	const place = hostname ?? (address && `${address}:${port}`);
	const words: Record<string, string> = {
		ECONNREFUSED: "nobody listens there",
		ENOTFOUND: "no such host is known",
		ECONNRESET: "the connection was broken",
	};
	const why = words[code ?? ""] ?? (cause.message || code);
	return `No connection${place ? ` to ${place}` : ""}: ${why}. See that it runs, and that its address is right.`;
}

/** A system call's failure in words; undefined for another error. */
function ofSystem(error: Error): string | undefined {
	const { code, path, syscall } = error as NodeJS.ErrnoException;
	if (!syscall) return undefined;
	const words: Record<string, string> = {
		ENOENT: `There is no ${path}.`,
		EACCES: `${path} may not be used: permission denied.`,
		EPERM: `${path} may not be used: permission denied.`,
		EROFS: `${path} cannot be written: its file system is read-only.`,
		EISDIR: `${path} is a folder, not a file.`,
		ENOTDIR: `${path} leads through a file that is no folder.`,
		ENOSPC: `There is no room left to write${path ? ` ${path}` : ""}. Free some, or choose another disk.`,
	};
	return (code && path !== undefined) || code === "ENOSPC" ? words[code as string] : undefined;
}
