/** A job's events as server-sent ones: from the first on, or after the last that the reader saw. */
import type { Context } from "hono";
import { asApiError, invalid } from "../http/errors.ts";
import { queryOf } from "../http/input.ts";
import { COMMENT, SSE_HEADERS, sseEvent, sseResponse } from "../http/sse.ts";
import { follow, jobGone, jobId } from "../job/follow.ts";
import type { App } from "../settings.ts";

/** What an EventSource saw last: `<job>.<n>`, `<job>` for all of it, or null. */
export function lastEventId(c: Context<App>): string | null {
	return (c.req.header("last-event-id") ?? queryOf(c.req.url).lastEventId) || null;
}

/** GET /v1/jobs/:job/events */
export async function jobEvents(c: Context<App>): Promise<Response> {
	if (c.req.method === "HEAD") return new Response(null, { headers: SSE_HEADERS });
	const job = c.req.param("job") ?? "";
	if (!jobId(c.env, job)) throw jobGone("job");
	const last = lastEventId(c) ?? job;
	if (last.split(".", 1)[0] === job) return resume(c, last);
	throw invalid("lastEventId", "Last-Event-ID is the id of another job's event; ask that job for it.");
}

/**
 * An EventSource that lost its connection repeats its GET with the last id it saw: it gets its own job's next events.
 */
export async function resume(c: Context<App>, last: string): Promise<Response> {
	const match = /^([0-9a-f]{64})(?:\.(\d{1,9}))?$/.exec(last);
	if (!match) throw invalid("lastEventId", "Last-Event-ID must be the id of an event of this route: <job>.<number>.");
	/** A job alone is read from its beginning. */
	const after = Number(match[2] ?? -1);
	const id = jobId(c.env, match[1]);
	const seen = id && (await c.env.JOB.get(id).seen(c.var.caller.owner, after));
	if (seen === null) throw jobGone();
	// 204 is how an EventSource is told to stop coming back.
	if (seen) return new Response(null, { status: 204 });
	return eventsOf(c, match[1], after);
}

/** The events after number `after`, to the end of the job. */
export function eventsOf(c: Context<App>, job: string, after: number, headers: Record<string, string> = {}): Response {
	const make = async function* (signal: AbortSignal) {
		yield "retry: 1000\n\n";
		try {
			for await (const row of follow(c.env, job, after, signal, c.var.caller.owner)) {
				yield row === null ? COMMENT : sseEvent(row.type, row.json, `${job}.${row.n}`);
			}
		} catch (error) {
			// Without an id: the job may go on, and the reader can come back to where it was.
			const { code, message } = asApiError(error, c.var.requestId);
			yield sseEvent("error", JSON.stringify({ type: "error", code, message }));
		}
	};
	return sseResponse(c.req.raw, make, headers);
}
