/** Connections of a run, over undici: as many as it takes, and readers at the byte level, good and bad. */
import { setTimeout as sleep } from "node:timers/promises";
import { Agent, request } from "undici";
import type { EventId } from "../../worker/protocol/client.ts";
import type { ReaderNow } from "./mix.ts";
import type { Trace } from "./trace.ts";

/** A reader that goes, or breaks its connection, on purpose. */
export class LeftError extends Error {
	override name = "LeftError";
}

export interface Answer {
	status: number;
	headers: Record<string, string | string[] | undefined>;
	/** Everything that comes, taken as fast as this reader takes it. */
	chunks: AsyncGenerator<Uint8Array>;
}

/** All of a run's connections; dispose of it when the run is over. */
export class Wire implements AsyncDisposable {
	// Nothing waits for a free connection, and no timeout but the run's own ends one.
	readonly #agent = new Agent({
		connections: null,
		pipelining: 1,
		bodyTimeout: 0,
		headersTimeout: 0,
		keepAliveTimeout: 10_000,
		connect: { timeout: 30_000 },
	});

	/**
	 * Sends a request and notes in the trace what comes of it. `signal` ends it as a reader does who closes the
	 * connection; its reason tells why.
	 */
	async open(
		trace: Trace,
		url: string,
		init: { method: "GET" | "POST"; headers: Record<string, string>; body?: string; after: EventId | null },
		signal: AbortSignal,
	): Promise<Answer> {
		trace.opened(init.after);
		const { method, headers, body } = init;
		try {
			const answer = await request(url, { method, headers, body, signal, dispatcher: this.#agent });
			trace.answered(answer.statusCode, answer.headers);
			return {
				status: answer.statusCode,
				headers: answer.headers,
				chunks: noted(trace, answer.body, trace.asked.reader, signal),
			};
		} catch (error) {
			const leaving = signal.aborted;
			trace.closed(leaving ? "left" : "broken", leaving ? null : codeOf(error));
			throw error;
		}
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.#agent.destroy();
	}
}

async function* noted(
	trace: Trace,
	body: AsyncIterable<Uint8Array> & { destroy(error?: Error): unknown },
	reader: ReaderNow,
	signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
	let finished = false;
	try {
		for await (const chunk of body) {
			trace.chunk(chunk);
			yield chunk;
			if (reader.kind === "slow") await sleep((chunk.byteLength / reader.bytesPerSecond) * 1000, undefined, { signal });
		}
		finished = true;
		trace.closed("ended");
	} catch (error) {
		trace.closed(signal.aborted || error instanceof LeftError ? "left" : "broken", codeOf(error));
		throw error;
	} finally {
		// Whoever stops asking has left.
		if (!finished) trace.closed("left");
		if (!finished) body.destroy();
	}
}

const codeOf = (error: unknown): string => {
	const { code, message, cause } = error as { code?: string; message: string; cause?: { code?: string } };
	return code ?? cause?.code ?? message;
};
