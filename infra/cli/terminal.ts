import { clearBar, Progress } from "./progress.ts";

/** What a command says and where: results on stdout, for people or as JSON; everything else on stderr. */
export class Terminal {
	/** Aborted by Ctrl-C. */
	readonly signal: AbortSignal;
	/** Results only: no progress, no chatter. */
	quiet = false;
	/** One JSON document on stdout in place of text. */
	json = false;

	constructor(signal: AbortSignal) {
		this.signal = signal;
	}

	/** A result for people. */
	print(text: string): void {
		if (this.json) return;
		clearBar();
		process.stdout.write(`${text}\n`);
	}

	/** Rows of one kind, for people. */
	table(rows: readonly object[]): void {
		if (this.json) return;
		clearBar();
		console.table(rows);
	}

	/** The whole result for programs; what JSON has no word for (Infinity, NaN) becomes null. */
	result(value: unknown): void {
		if (this.json) process.stdout.write(`${JSON.stringify(value, null, "\t")}\n`);
	}

	/** What is good to know while it runs. */
	say(text: string): void {
		if (this.quiet) return;
		clearBar();
		process.stderr.write(`${text}\n`);
	}

	/** `format`: as Progress takes it. */
	progress(format: string): Progress {
		return new Progress(format, this.signal, this.quiet);
	}
}
