/** `npx firstlight COMMAND`: one process, one command. The process is ended here: Dawn would keep it alive. */
import { CommanderError } from "@commander-js/extra-typings";
import { checkEnvironment } from "./environment.ts";
import { failureOf } from "./failure.ts";
import { interruptSignal } from "./interrupt.ts";
import { COMMANDS, program, VERSION_ASKED } from "./program.ts";
import { Terminal } from "./terminal.ts";

const [first, ...rest] = process.argv.slice(2);
const args = first === undefined ? ["--help"] : first === "help" ? [...rest, "--help"] : [first, ...rest];
const signal = interruptSignal();
process.on("uncaughtException", (error) => void end(error));
// Whoever reads our output may stop: `firstlight paper | head`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

try {
	checkEnvironment(process.env);
	await program(new Terminal(signal)).parseAsync(args, { from: "user" });
} catch (error) {
	await end(error);
}
await leave();

/** A pipe takes 64 KiB at a time: what its reader has yet to take would be lost with the process. */
async function leave(exitCode = process.exitCode): Promise<never> {
	const taken = [process.stdout, process.stderr].map(
		(stream) => new Promise<void>((resolve) => stream.write("", () => resolve())),
	);
	await Promise.all(taken);
	process.exit(exitCode);
}

async function end(error: unknown): Promise<never> {
	// An interrupt says so itself, whatever it broke.
	if (signal.aborted) process.exit();
	if (error instanceof CommanderError && error.code === VERSION_ASKED) {
		console.log((await import("./version.ts")).versionText());
		await leave(0);
	}
	const command = args.find((arg) => Object.hasOwn(COMMANDS, arg));
	const { text, exitCode } = failureOf(error, command ? `firstlight ${command}` : "firstlight");
	if (text) process.stderr.write(`${text}\n`);
	return await leave(exitCode);
}
