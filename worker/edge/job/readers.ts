/**
 * Who reads a job's log: each reader holds one stream open, at its own pace, and is there for as long as it does. A
 * stream's bytes are lines: number and type of an event, then its JSON; an empty one after each silence, since a reader
 * that left shows only when something is written to it; and at the end of the log one that says so.
 */
import type { JobLog } from "./log.ts";

/** The last line of a log that has come to its end. */
export const END = "end";

/** Who asks for a stream; absent where no key was asked for. */
export const OWNER_HEADER = "x-owner";

const encoder = new TextEncoder();

export class Readers {
	readonly #log: JobLog;
	readonly #ended: () => boolean;
	readonly #left: () => void;
	readonly #silence: number;
	readonly #open = new Set<() => void>();
	/** When the last one left, or began to be awaited. */
	#since = Date.now();

	/**
	 * `ended`: whether nothing more comes. `left` is called when nobody reads any more. `silence`, in milliseconds, is
	 * broken by an empty line.
	 */
	constructor(log: JobLog, ended: () => boolean, left: () => void, silence: number) {
		this.#log = log;
		this.#ended = ended;
		this.#left = left;
		this.#silence = silence;
	}

	/** Since when nobody reads; null while somebody does. */
	get absentSince(): number | null {
		return this.#open.size > 0 ? null : this.#since;
	}

	/** They are given their time anew. */
	awaitAgain(): void {
		this.#since = Date.now();
	}

	/** There is something new. */
	wake(): void {
		for (const resume of this.#open) resume();
	}

	/**
	 * Events after number `after`, as they come, until `gone` or the end. One piece of one event is in memory, however
	 * large the picture.
	 */
	stream(after: number, gone: AbortSignal): ReadableStream<Uint8Array> {
		let resume = () => {};
		const notify = () => resume();
		const changed = () => new Promise<void>((resolve) => (resume = resolve));
		const leave = () => {
			if (!this.#open.delete(notify)) return;
			resume();
			if (this.#open.size > 0) return;
			this.awaitAgain();
			this.#left();
		};
		this.#open.add(notify);
		gone.addEventListener("abort", leave, { once: true });
		const lines = this.#lines(after, changed, () => !this.#open.has(notify));
		return new ReadableStream({
			type: "bytes",
			async pull(controller) {
				const { done, value } = await lines.next();
				if (!done) return controller.enqueue(encoder.encode(value));
				leave();
				controller.close();
			},
			cancel: leave,
		} as UnderlyingByteSource);
	}

	/** Whether it came before the silence grew long. */
	async #soon(news: Promise<void>): Promise<boolean> {
		let timer: ReturnType<typeof setTimeout> | undefined;
		const silence = new Promise<boolean>((resolve) => {
			timer = setTimeout(resolve, this.#silence, false);
		});
		return Promise.race([news.then(() => true), silence]).finally(() => clearTimeout(timer));
	}

	async *#lines(after: number, changed: () => Promise<void>, gone: () => boolean): AsyncGenerator<string> {
		for (let n = after; !gone(); ) {
			// Asked for first: what comes between the look and the wait is not missed.
			const news = changed();
			const event = this.#log.next(n);
			if (event) {
				for (let i = 0; i < event.pieces; i++) {
					const head = i === 0 ? `${event.n} ${event.type}\n` : "";
					const tail = i === event.pieces - 1 ? "\n" : "";
					yield `${head}${this.#log.piece(event.n, i)}${tail}`;
				}
				n = event.n;
			} else if (this.#ended()) {
				yield `${END}\n`;
				return;
			} else if (!(await this.#soon(news))) yield "\n";
		}
	}
}
