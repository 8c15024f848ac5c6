/** A reader of event streams that goes as slowly, and leaves as suddenly, as a test wants. */
import { edge, health, peersLeave } from "./peer.ts";

export interface Received {
	event: string;
	id: string | undefined;
	data: any;
}

const readers = new Set<Reader>();

/** After a test: every reader and every peer goes, and the pool has noticed. */
export async function everybodyLeaves(): Promise<void> {
	await Promise.all([...readers].map((reader) => reader.leave()));
	readers.clear();
	peersLeave();
	await until(health, ({ workers, queue }) => workers.length === 0 && queue === 0);
}

export class Reader {
	readonly response: Response;
	comments = 0;
	retry: number | undefined;
	readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
	readonly #decoder = new TextDecoder();
	/** Parts of the block that has begun, and blocks that are whole. */
	#begun: string[] = [];
	#blocks: string[] = [];

	static async open(path: string, init?: RequestInit): Promise<Reader> {
		const reader = new Reader(await edge(path, init));
		readers.add(reader);
		return reader;
	}

	constructor(response: Response) {
		this.response = response;
		this.#reader = response.body?.getReader();
	}

	/** The next event; null at the end of the stream. */
	async next(): Promise<Received | null> {
		for (;;) {
			const block = await this.#block();
			if (block === null) return null;
			const fields = new Map(
				block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]),
			);
			if (fields.has("")) this.comments += 1;
			if (fields.has("retry")) this.retry = Number(fields.get("retry"));
			if (fields.has("data"))
				return { event: fields.get("event") ?? "message", id: fields.get("id"), data: JSON.parse(fields.get("data")!) };
		}
	}

	/** What stands between two empty lines. Looks at each character once: pictures are long. */
	async #block(): Promise<string | null> {
		while (this.#blocks.length === 0) {
			const chunk = await this.#reader?.read();
			if (!chunk || chunk.done) return null;
			const text = (this.#begun.pop() ?? "") + this.#decoder.decode(chunk.value, { stream: true });
			const [rest, ...blocks] = text.split("\n\n");
			this.#begin(rest);
			for (const block of blocks) {
				this.#blocks.push(this.#begun.splice(0).join(""));
				this.#begin(block);
			}
		}
		return this.#blocks.shift()!;
	}

	/** The last character is kept apart: it may be half of an empty line. */
	#begin(text: string): void {
		if (text !== "") this.#begun.push(text.slice(0, -1), text.slice(-1));
	}

	async rest(): Promise<Received[]> {
		const events: Received[] = [];
		for (let event = await this.next(); event; event = await this.next()) events.push(event);
		return events;
	}

	async leave(): Promise<void> {
		await this.#reader?.cancel();
	}
}

/** Asks again until the answer passes. */
export async function until<T>(ask: () => Promise<T>, passes: (answer: T) => boolean, milliseconds = 5000): Promise<T> {
	const deadline = Date.now() + milliseconds;
	for (;;) {
		const answer = await ask();
		if (passes(answer)) return answer;
		if (Date.now() > deadline) throw new Error(`not within ${milliseconds} ms; last: ${JSON.stringify(answer)}`);
		await pause(20);
	}
}

export function pause(milliseconds: number): Promise<void> {
	return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
