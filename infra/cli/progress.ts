import { SingleBar } from "cli-progress";

/** Where stderr is no terminal, a line as often as this. */
const LINE_MS = 30_000;

/** The bar that is drawn now: its line makes room for other text, and at the end it gives the cursor back. */
let drawn: SingleBar | undefined;
let watching = false;

/** Makes room on the terminal for a line of text; the bar comes again below it. */
export function clearBar(): void {
	if (drawn) process.stderr.write("\r\x1b[K");
}

/**
 * How far something is: a bar on a terminal, a line now and then in a log, nothing where it is to be quiet. Whatever
 * reports its progress can be interrupted there: `update` throws the signal's reason.
 */
export class Progress implements Disposable {
	#format: string;
	#quiet: boolean;
	#signal: AbortSignal;
	#bar: SingleBar | undefined;
	#done = 0;
	#total = 0;
	#shown: Record<string, string | number> = {};
	#said = 0;

	/** `format`: cli-progress's, `{bar}` first; what it names beside value and total comes with the updates. */
	constructor(format: string, signal: AbortSignal, quiet: boolean) {
		this.#format = format;
		this.#signal = signal;
		this.#quiet = quiet;
	}

	start(total: number, shown: Record<string, string | number> = {}): void {
		this[Symbol.dispose]();
		this.#signal.throwIfAborted();
		[this.#done, this.#total, this.#shown, this.#said] = [0, total, shown, performance.now()];
		if (this.#quiet || !process.stderr.isTTY) return;
		// Interrupts have one owner, which is not the bar.
		this.#bar = new SingleBar({
			format: this.#format,
			stream: process.stderr,
			hideCursor: true,
			gracefulExit: false,
			etaBuffer: 200,
		});
		drawn = this.#bar;
		if (!watching) process.on("exit", () => drawn?.stop());
		watching = true;
		this.#bar.start(total, 0, shown);
	}

	/** So much is done. Begins where it was not begun. */
	update(done: number, { total = this.#total, ...shown }: Record<string, string | number> & { total?: number } = {}) {
		if (total !== this.#total && this.#total === 0) this.start(total, shown);
		this.#signal.throwIfAborted();
		[this.#done, this.#total, this.#shown] = [done, total, { ...this.#shown, ...shown }];
		this.#bar?.setTotal(total);
		this.#bar?.update(done, shown);
		if (!this.#bar) this.#log();
	}

	add(more: number): void {
		this.update(this.#done + more);
	}

	/** The same as `update`, in the form that most functions report in. */
	readonly report = (done: number, total: number): void => this.update(done, { total });

	[Symbol.dispose](): void {
		this.#bar?.stop();
		if (drawn === this.#bar) drawn = undefined;
		this.#bar = undefined;
		// What is reported after it begins anew.
		this.#total = 0;
	}

	#log(): void {
		if (this.#quiet || process.stderr.isTTY || performance.now() - this.#said < LINE_MS) return;
		this.#said = performance.now();
		const percentage = this.#total ? Math.floor((100 * this.#done) / this.#total) : 0;
		const values = { ...this.#shown, value: this.#done, total: this.#total, percentage };
		const line = this.#format
			.replace("{bar} ", "")
			.replace(", {eta_formatted} left", "")
			.replace(/\{(\w+)\}/g, (_, name) => String(values[name as keyof typeof values] ?? ""));
		process.stderr.write(`${line.trim()}\n`);
	}
}
