/** What is started besides the commands, as by `npm run filmstrip`: what goes wrong is said as theirs is. */
import { failureOf } from "./failure.ts";
import { UsageError } from "./usage.ts";

/** `usage`: how it is called. Ends the process with an exit code where `main` throws. */
export async function script(usage: string, main: () => Promise<void>): Promise<void> {
	try {
		await main();
	} catch (thrown) {
		const { text, exitCode } = failureOf(ofArguments(thrown, usage) ?? thrown, usage);
		console.error(text);
		process.exit(exitCode);
	}
}

/** A wrong argument, by `parseArgs` of node:util too, with the usage for a hint where there is no other. */
function ofArguments(thrown: unknown, usage: string): UsageError | undefined {
	if (!(thrown instanceof Error)) return undefined;
	const unparsed = (thrown as NodeJS.ErrnoException).code?.startsWith("ERR_PARSE_ARGS");
	if (unparsed || thrown instanceof UsageError)
		return new UsageError(thrown.message, (thrown as UsageError).hint ?? usage);
}
