/** What belongs to one request, across processes: W3C's trace context, `00-<trace>-<span>-<flags>`. */
import { z } from "zod";

export const TraceParent = z.string().regex(/^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/);

/** The context of a request's work: a span of its own, of the trace that the request names, or else of a new one. */
export function traceFor(header: string | null): string {
	const [, trace, , flags] = TraceParent.safeParse(header).success ? (header as string).split("-") : [];
	const known = trace !== undefined && !/^0+$/.test(trace);
	return `00-${known ? trace : hex(16)}-${hex(8)}-${known ? flags : "01"}`;
}

function hex(bytes: number): string {
	return [...crypto.getRandomValues(new Uint8Array(bytes))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
