/** Server-sent events. */

export const SSE_HEADERS: Record<string, string> = {
	"content-type": "text/event-stream; charset=utf-8",
	// No proxy on the way may hold back, store or repack the stream.
	"cache-control": "no-cache, no-transform",
	"content-encoding": "identity",
	"x-accel-buffering": "no",
};

/** Keeps proxies and clients from taking silence for an end, and finds out whether the reader is still there. */
export const COMMENT = ":\n\n";

/** One event. `json` has no line breaks, as JSON.stringify makes it. */
export function sseEvent(type: string, json: string, id?: string): string {
	return `event: ${type}\n${id === undefined ? "" : `id: ${id}\n`}data: ${json}\n\n`;
}

/**
 * Streams the chunks that `make` yields, asking for the next only when the reader wants more. The signal it is given
 * fires when the reader goes away; not every disconnect is seen, so what hangs on it needs a time limit of its own.
 */
export function sseResponse(
	request: Request,
	make: (signal: AbortSignal) => AsyncGenerator<string>,
	headers: Record<string, string> = {},
): Response {
	const reader = new AbortController();
	const leave = () => reader.abort();
	if (request.signal.aborted) leave();
	else request.signal.addEventListener("abort", leave, { once: true });
	const chunks = make(reader.signal);
	const encoder = new TextEncoder();
	const body = new ReadableStream<Uint8Array>({
		async pull(controller) {
			const { done, value } = await chunks.next();
			// A reader that left closed the stream with its cancel.
			if (reader.signal.aborted) return;
			if (done) controller.close();
			else controller.enqueue(encoder.encode(value));
		},
		cancel: leave,
	});
	return new Response(body, { headers: { ...SSE_HEADERS, ...headers } });
}
