/**
 * A reader of pictures being made, new ones or a job's, for whoever is not an EventSource: scales come as an async
 * iterator that goes on across lost connections by itself. Needs fetch alone; knows no platform.
 */
import { createParser, type EventSourceMessage } from "eventsource-parser";
import { z } from "zod";
import { ErrorEvent, FinalEvent, PlanEvent, RevisionEvent, ScaleEvent } from "./job.ts";
import { MAX_EVENT_CHARS } from "./limits.ts";

/**
 * Events as readers get them: without the codes. What a later edge adds is left out and does no harm, so that an older
 * client reads a newer edge.
 */
export const ShownEvent = z.discriminatedUnion("type", [
	z.object(PlanEvent.shape),
	z.object(ScaleEvent.omit({ codes: true }).shape),
	z.object(RevisionEvent.shape),
	z.object(FinalEvent.shape),
	z.object(ErrorEvent.shape),
]);
export type ShownEvent = z.infer<typeof ShownEvent>;

/** What to draw and how, as `GET /v1/images/preview` takes it; left out: the edge's own choice. */
export interface Ask {
	prompt?: string;
	class?: number;
	model?: string;
	seed?: number;
	policy?: string;
	quality?: "high" | "medium" | "low";
	/** Milliseconds within which the picture is wanted. */
	max_ms?: number;
	/** A plan in place of a policy: JSON. */
	plan?: string;
	schedule?: string;
	format?: "png" | "webp" | "jpeg";
	/** `false`: made anew, though it may be there already. */
	cache?: boolean;
	until?: number;
	from?: string;
	scales?: number;
}

/** One event of a stream, before anybody has looked at what it says. */
export interface Frame {
	type: string;
	/** `<job>.<n>`; null where the event has none, so that nobody resumes after it. */
	id: EventId | null;
	data: string;
}
export interface EventId {
	job: string;
	n: number;
}

/** Sees everything that comes over the wire, also what the iterator drops, repeats or mends. */
export interface Witness {
	/** A connection was answered; `after` is the event it goes on after. */
	answered?(response: Response, after: EventId | null): void;
	/** So many bytes came. */
	bytes?(count: number): void;
	frame?(frame: Frame): void;
	/** The connection ended: `null` by the other side as it should, else why it broke. */
	closed?(problem: Error | null): void;
}

export interface ClientOptions {
	/** Such as `http://localhost:8787`. */
	url: string;
	/** An API key, sent as a bearer token. */
	key?: string;
	signal?: AbortSignal;
	fetch?: (url: string, init: RequestInit) => Promise<Response>;
	/** Connections after the first one that bring nothing new, before it gives up. */
	retries?: number;
	witness?: Witness;
}

/** The edge said no. `retryAfter` in seconds, where it named one. */
export class RefusedError extends Error {
	override name = "RefusedError";
	readonly status: number;
	readonly code: string;
	readonly retryAfter: number | null;

	constructor(status: number, code: string, message: string, retryAfter: number | null) {
		super(message);
		this.status = status;
		this.code = code;
		this.retryAfter = retryAfter;
	}
}

/** The stream broke off and could not be taken up again. */
export class LostError extends Error {
	override name = "LostError";
}

/** What an EventSource waits where the edge names no time. */
const RETRY_MS = 1000;

/**
 * Asks for a picture, or goes to a job that there is, and yields its events, each once and in their order, up to
 * `final` or `error`. A connection that breaks, or skips an event, is opened again after the last event that came.
 * Throws RefusedError where the edge refuses, LostError where the stream cannot be taken up again, and the signal's
 * reason.
 */
export async function* follow(what: Ask | { job: string }, options: ClientOptions): AsyncGenerator<ShownEvent> {
	const { retries = 5, signal } = options;
	const address = "job" in what ? eventsUrl(options.url, what.job) : previewUrl(options.url, what);
	let last: EventId | null = null;
	/** Whether there is a job to come back to. */
	const there = () => last !== null || "job" in what;
	let retryMs = RETRY_MS;
	for (let idle = 0; ; idle++) {
		const before: EventId | null = last;
		let problem = "the stream ended before the picture was finished";
		let later = 0;
		try {
			for await (const frame of connect(address, options, last, (milliseconds) => (retryMs = milliseconds))) {
				if (frame.id) {
					if (last && frame.id.job !== last.job) throw new LostError("an event of another job came");
					const next = last ? last.n + 1 : 0;
					if (frame.id.n < next) continue;
					if (frame.id.n > next) {
						problem = `event ${next} did not come`;
						break;
					}
					last = frame.id;
				} else if (frame.type === "error" && last) {
					// The edge had trouble with the stream; the job may go on.
					problem = (readEvent(frame.data, frame.type) as ErrorEvent).message;
					break;
				}
				const event = readEvent(frame.data, frame.type);
				yield event;
				if (event.type === "final" || event.type === "error") return;
			}
		} catch (error) {
			signal?.throwIfAborted();
			if (error instanceof LostError) throw error;
			if (error instanceof RefusedError) {
				// A picture that is being made is worth coming back for; only a new one may be turned away.
				if (!there() || !(error.status === 429 || error.status >= 500)) throw error;
				later = error.retryAfter ?? 0;
			}
			problem = (error as Error).message;
		}
		problem = problem.replace(/\.$/, "");
		// There is nothing to go on from: another request would be another picture.
		if (!there()) throw new LostError(`The picture cannot be followed: ${problem}.`);
		if (last !== before) idle = 0;
		if (idle >= retries) throw new LostError(`The picture was lost after event ${last?.n ?? "none"}: ${problem}.`);
		await pause(Math.max(retryMs * (0.5 + Math.random() / 2), later * 1000), signal);
	}
}

/** One connection: its frames as they come. Throws RefusedError, and what fetch throws. */
async function* connect(
	address: string,
	{ key, signal, fetch = globalThis.fetch, witness }: ClientOptions,
	after: EventId | null,
	onRetry: (milliseconds: number) => void,
): AsyncGenerator<Frame> {
	const headers: Record<string, string> = { accept: "text/event-stream" };
	if (key !== undefined) headers.authorization = `Bearer ${key}`;
	if (after) headers["last-event-id"] = `${after.job}.${after.n}`;
	const response = await fetch(address, { headers, signal });
	witness?.answered?.(response, after);
	if (response.status === 204) {
		witness?.closed?.(null);
		throw new LostError("The job has ended, and everything of it was seen.");
	}
	if (!response.ok) throw await refusal(response);
	const frames: Frame[] = [];
	const parser = createParser({
		onEvent: (message) => frames.push(frameOf(message)),
		onRetry,
		maxBufferSize: MAX_EVENT_CHARS,
	});
	const decoder = new TextDecoder();
	const reader = response.body?.getReader();
	let problem: Error | null = null;
	try {
		for (let chunk = await reader?.read(); chunk && !chunk.done; chunk = await reader?.read()) {
			witness?.bytes?.(chunk.value.byteLength);
			parser.feed(decoder.decode(chunk.value, { stream: true }));
			// All of a chunk is witnessed before the first event of it is acted on.
			for (const frame of frames) witness?.frame?.(frame);
			yield* frames.splice(0);
		}
	} catch (error) {
		problem = error as Error;
		throw error;
	} finally {
		await reader?.cancel().catch(() => {});
		witness?.closed?.(problem);
	}
}

/** An edge may lie behind a path. */
export function under(edge: string, path: string): URL {
	return new URL(path, `${edge.replace(/\/+$/, "")}/`);
}

/** The address of a job's stream. */
export function eventsUrl(url: string, job: string): string {
	return under(url, `v1/jobs/${encodeURIComponent(job)}/events`).href;
}

/** The address of a picture's stream. */
export function previewUrl(url: string, ask: Ask): string {
	const address = under(url, "v1/images/preview");
	for (const [name, value] of Object.entries(ask))
		if (value !== undefined) address.searchParams.set(name, String(value));
	return address.href;
}

export function frameOf({ event = "message", id, data }: EventSourceMessage): Frame {
	return { type: event, id: id === undefined ? null : eventId(id), data };
}

/** Null for an id that is not one of ours. */
export function eventId(id: string): EventId | null {
	const match = /^([0-9a-zA-Z_-]{1,128})\.(\d{1,9})$/.exec(id);
	return match && { job: match[1], n: Number(match[2]) };
}

/** Throws SyntaxError or a ZodError for what is no event of that type. */
export function readEvent(data: string, type: string): ShownEvent {
	return ShownEvent.parse({ ...JSON.parse(data), type });
}

/** What an answer that is not 200 says. */
export async function refusal(response: Response): Promise<RefusedError> {
	const text = await response.text().catch(() => "");
	const parsed = Refusal.safeParse(safeJson(text));
	const { code, message } = parsed.success ? parsed.data.error : { code: `http_${response.status}`, message: "" };
	return new RefusedError(response.status, code, message, retryAfter(response.headers.get("retry-after")));
}

const Refusal = z.object({ error: z.object({ code: z.string().max(200), message: z.string().max(10_000) }) });

/** Seconds, from a number or a date (RFC 9110, section 10.2.3); null where there is none, or it is neither. */
export function retryAfter(header: string | null, now = Date.now()): number | null {
	if (header === null) return null;
	if (/^\d{1,9}$/.test(header.trim())) return Number(header);
	const date = Date.parse(header);
	return Number.isNaN(date) ? null : Math.max(0, (date - now) / 1000);
}

function safeJson(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}

export function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
	return new Promise((resolve, reject) => {
		const stop = () => {
			clearTimeout(timer);
			reject(signal?.reason);
		};
		const timer = setTimeout(() => {
			signal?.removeEventListener("abort", stop);
			resolve();
		}, milliseconds);
		if (signal?.aborted) stop();
		else signal?.addEventListener("abort", stop, { once: true });
	});
}
