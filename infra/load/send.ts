/** Makes one request as its reader would, by one of three ways, and fills its trace. Never throws. */
import { setTimeout as sleep } from "node:timers/promises";
import { createParser } from "eventsource-parser";
import {
	type Ask,
	type EventId,
	follow,
	frameOf,
	LostError,
	previewUrl,
	RefusedError,
	retryAfter,
	under,
} from "../../worker/protocol/client.ts";
import type { Trace } from "./trace.ts";
import { type Answer, LeftError, type Wire } from "./wire.ts";

export interface Target {
	url: string;
	/** API keys by their names in the mix; "" for requests that name none. */
	keys: Readonly<Record<string, string>>;
	/** A request that has not ended by then is given up. */
	timeoutMs: number;
}

/** Takes as long as the request does. `stop` ends it early, without a judgement: the run is interrupted. */
export async function send(trace: Trace, target: Target, wire: Wire, clock: () => number, stop: AbortSignal) {
	const leaving = new AbortController();
	const { reader } = trace.asked;
	const timers = [
		setTimeout(() => {
			trace.timedOut = true;
			leaving.abort(new LeftError("timeout"));
		}, target.timeoutMs),
	];
	const leave = (why: "cancelled" | "vanished") => (trace.left ??= { at: clock(), why });
	if (reader.kind === "cancel")
		timers.push(
			setTimeout(() => {
				leave("cancelled");
				leaving.abort(new LeftError("cancelled"));
			}, reader.afterMs),
		);
	const interrupt = () => leaving.abort(new LeftError("the run was stopped"));
	stop.addEventListener("abort", interrupt, { once: true });
	const hang = vanishing(trace, leave, leaving.signal);
	const vanish = async () => {
		await hang();
		if (trace.left?.why === "vanished") leaving.abort(new LeftError("vanished"));
		leaving.signal.throwIfAborted();
	};
	const made: Made = { trace, target, wire, signal: leaving.signal, vanish };
	try {
		if (trace.asked.transport === "client") await byClient(made);
		else await byHttp(made);
	} catch (error) {
		if (error instanceof RefusedError) {
			const { status, code, message, retryAfter } = error;
			trace.refused = { status, code, message, retryAfter };
		} else if (!(error instanceof LeftError) && !leaving.signal.aborted) {
			trace.problem = `${error instanceof LostError ? "lost" : (error as Error).name}: ${(error as Error).message}`;
		}
	} finally {
		for (const timer of timers) clearTimeout(timer);
		stop.removeEventListener("abort", interrupt);
		trace.closed(leaving.signal.aborted ? "left" : "ended");
		trace.ended = clock();
	}
}

interface Made {
	trace: Trace;
	target: Target;
	wire: Wire;
	signal: AbortSignal;
	/** Called before every chunk is taken: a reader that vanishes never comes back from it, until its hang is over. */
	vanish(): Promise<void>;
}

function vanishing(trace: Trace, leave: (why: "vanished") => void, signal: AbortSignal): () => Promise<void> {
	const { reader } = trace.asked;
	if (reader.kind !== "vanish") return async () => {};
	const due = performance.now() + reader.afterMs;
	return async () => {
		if (performance.now() < due) return;
		leave("vanished");
		await sleep(reader.hangMs, undefined, { signal });
	};
}

/** By the typed client, which resumes by itself; the wire under it is the run's. */
async function byClient({ trace, target, wire, signal, vanish }: Made): Promise<void> {
	const breaks = breaker(trace);
	const fetch = async (url: string, init: RequestInit): Promise<Response> => {
		const cut = new AbortController();
		breaks.cut = () => cut.abort(new LeftError("reconnects"));
		const headers = init.headers as Record<string, string>;
		const after = headers["last-event-id"] === undefined ? null : idOf(headers["last-event-id"]);
		if (after && breaks.pauseMs > 0) await sleep(breaks.pauseMs, undefined, { signal });
		const either = AbortSignal.any([signal, cut.signal]);
		const answer = await wire.open(trace, url, { method: "GET", headers, after }, either);
		return responseOf(answer, vanish);
	};
	const { key = "" } = trace.asked;
	const options = { url: target.url, key: target.keys[key], signal, fetch };
	const witness = { frame: (frame: Parameters<Trace["frame"]>[0]) => breaks.saw(trace.frame(frame) !== undefined) };
	for await (const _ of follow(askOf(trace), { ...options, witness }));
}

/** By bare HTTP: nothing is mended, and only a reader that is meant to comes back. */
async function byHttp({ trace, target, wire, signal, vanish }: Made): Promise<void> {
	const breaks = breaker(trace);
	let after: EventId | null = null;
	for (;;) {
		const cut = new AbortController();
		breaks.cut = () => cut.abort(new LeftError("reconnects"));
		const { url, ...init } = requestOf(trace, target, after);
		const answer = await wire.open(trace, url, { ...init, after }, AbortSignal.any([signal, cut.signal]));
		if (answer.status !== 200) throw await refusalOf(answer);
		let over = false;
		const parser = createParser({
			onEvent: (message) => {
				const frame = trace.frame(frameOf(message));
				if (frame.id) after = frame.id;
				over ||= frame.type === "final" || frame.type === "error";
				breaks.saw(!over);
			},
		});
		const decoder = new TextDecoder();
		try {
			for await (const chunk of answer.chunks) {
				parser.feed(decoder.decode(chunk, { stream: true }));
				await vanish();
			}
		} catch (error) {
			if (!cut.signal.aborted) throw error;
		}
		if (over || !cut.signal.aborted || signal.aborted || after === null) return;
		if (breaks.pauseMs > 0) await sleep(breaks.pauseMs, undefined, { signal });
	}
}

/** Breaks the connection of a reader that reconnects, as often as it is meant to. */
function breaker({ asked: { reader } }: Trace) {
	let [seen, left] = [0, reader.kind === "reconnect" ? reader.times : 0];
	return {
		pauseMs: reader.kind === "reconnect" ? reader.pauseMs : 0,
		cut: () => {},
		saw(goesOn: boolean) {
			if (!goesOn || left === 0 || reader.kind !== "reconnect" || ++seen < reader.afterEvents) return;
			[seen, left] = [0, left - 1];
			this.cut();
		},
	};
}

function askOf({ asked }: Trace): Ask {
	const { prompt, class: label, model, policy, seed, format } = asked;
	// Each is to be made: what is found again tells nothing of the workers.
	return { prompt, class: label, model, policy, seed, format, cache: false };
}

function requestOf(trace: Trace, target: Target, after: EventId | null) {
	const { asked } = trace;
	const key = target.keys[asked.key ?? ""];
	const headers: Record<string, string> = { accept: "text/event-stream" };
	if (key !== undefined) headers.authorization = `Bearer ${key}`;
	if (asked.transport !== "openai") {
		if (after) headers["last-event-id"] = `${after.job}.${after.n}`;
		return { url: previewUrl(target.url, askOf(trace)), method: "GET" as const, headers };
	}
	const { prompt, class: label, model, policy, seed, format: output_format } = asked;
	return {
		url: under(target.url, "v1/images/generations").href,
		method: "POST" as const,
		headers: { ...headers, "content-type": "application/json" },
		body: JSON.stringify({
			cache: false,
			prompt,
			class: label,
			model,
			policy,
			seed,
			output_format,
			stream: true,
			partial_images: 16,
		}),
	};
}

async function refusalOf({ status, headers, chunks }: Answer): Promise<RefusedError> {
	const parts: Uint8Array[] = [];
	for await (const chunk of chunks) parts.push(chunk);
	let [code, message] = [`http_${status}`, ""];
	try {
		const { error } = JSON.parse(Buffer.concat(parts).toString());
		[code, message] = [String(error.code), String(error.message)];
	} catch {
		// Not our edge's words; the status has to do.
	}
	const header = headers["retry-after"];
	return new RefusedError(status, code, message, retryAfter(header === undefined ? null : String(header)));
}

function responseOf({ status, headers, chunks }: Answer, vanish: () => Promise<void>): Response {
	const body = new ReadableStream<Uint8Array>(
		{
			async pull(controller) {
				await vanish();
				const { done, value } = await chunks.next();
				if (done) controller.close();
				else controller.enqueue(value);
			},
			async cancel() {
				await chunks.return(undefined);
			},
		},
		{ highWaterMark: 0 },
	);
	const shown = Object.entries(headers).flatMap(([name, value]): [string, string][] =>
		value === undefined ? [] : [[name, Array.isArray(value) ? value.join(", ") : value]],
	);
	return new Response(status === 204 || status === 304 ? null : body, { status, headers: shown });
}

function idOf(id: string): EventId {
	const dot = id.lastIndexOf(".");
	return { job: id.slice(0, dot), n: Number(id.slice(dot + 1)) };
}
