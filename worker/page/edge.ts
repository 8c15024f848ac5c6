/** What the page asks of its edge. Addresses are relative to the page, so that both may lie behind a path prefix. */
import type { JobEvent } from "../protocol/job.ts";
import type { JobResource } from "../protocol/jobs.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import { key, wantKey } from "./key.ts";
import type { PolicyEntry } from "./offers.ts";

/** What to draw and how: the query of the preview route. */
export interface Ask {
	prompt?: string;
	class?: string;
	model?: string;
	schedule?: string;
	seed: string;
	policy: string;
	format: "png" | "webp";
	/** Stop after this scale: a sketch. */
	until?: string;
	/** Go on from the first `scales` scales of this job. */
	from?: string;
	scales?: string;
}

export type Model = ModelInfo & {
	/** Every word it knows, where that is a closed list. */
	vocabulary?: string[];
	/** Where its files can be had by anyone, relative to the page. */
	files?: string;
};

/** Workers as they are now. */
export interface Health {
	adapters: string[];
	ready: boolean;
	/** How far workers are that are not ready yet. */
	loading: Progress[];
}

/** Of a model that is being loaded: its weights first, then kernels are compiled for it. `done`: share of that part. */
export interface Progress {
	model: string;
	part: "weights" | "kernels";
	done: number;
}

export interface Catalog {
	models: Model[];
	policies: PolicyEntry[];
}

/** A refusal in the edge's own words. `later`: it may be granted after so many milliseconds. */
export class Refusal extends Error {
	override name = "Refusal";
	readonly code: string;
	readonly later: number | undefined;
	constructor(message: string, code: string, later?: number) {
		super(message);
		this.code = code;
		this.later = later;
	}
}

/** The connection failed, or ended before the picture did. */
export class Lost extends Error {
	override name = "Lost";
}

const at = (path: string): URL => new URL(path, document.baseURI);

const keyed = (init: RequestInit, key: string | undefined): RequestInit =>
	key === undefined ? init : { ...init, headers: { ...init.headers, authorization: `Bearer ${key}` } };

/**
 * With the key, where there is one. Where the edge wants another the person is asked for it, and then the edge again.
 * Throws Refusal where there is none to be had, and what fetch throws.
 */
async function asked(url: URL, init: RequestInit = {}): Promise<Response> {
	for (;;) {
		const used = key();
		const response = await fetch(url, keyed(init, used));
		if (response.status !== 401) return response;
		await response.body?.cancel();
		if (!(await wantKey(used)))
			throw new Refusal("An API key is needed here. Generate asks for it again.", "missing_api_key");
		init.signal?.throwIfAborted();
	}
}

/** Throws Refusal, as where no key is given, Lost for an answer of something between, and what fetch throws. */
export async function catalog(): Promise<Catalog> {
	const [models, policies] = await Promise.all(
		["v1/models", "v1/policies"].map(async (path) => {
			const answer = await asked(at(path));
			if (!answer.ok) throw await refusalOf(answer);
			return (await answer.json()).data;
		}),
	);
	return { models, policies };
}

/** Null when the edge cannot be reached. */
export async function health(): Promise<Health | null> {
	try {
		const { status, workers, loading = [] } = await (await fetch(at("healthz"), { cache: "no-store" })).json();
		return {
			adapters: [...new Set<string>(workers.map(({ adapter }: { adapter: string }) => adapter))],
			ready: status === "ok",
			loading,
		};
	} catch {
		return null;
	}
}

/** Where a job stands, as the edge knows it; null where it cannot be asked. */
export async function standing(job: string): Promise<Pick<JobResource, "state" | "place" | "estimate_seconds"> | null> {
	try {
		const answer = await fetch(at(`v1/jobs/${job}`), keyed({ cache: "no-store" }, key()));
		return answer.ok ? await answer.json() : null;
	} catch {
		return null;
	}
}

/** Whether it is the id of a job of the edge: not anything else that a link may hold, nor a picture made here. */
export const isJob = (text: string | null | undefined): text is string => /^[0-9a-f]{64}$/.test(text ?? "");

/** Of any job, from its beginning. */
export const jobAddress = (job: string): URL => at(`v1/images/preview?lastEventId=${encodeURIComponent(job)}`);
export const askAddress = (ask: Ask): URL => {
	const given = Object.entries(ask).filter(([, value]) => value !== undefined);
	return at(`v1/images/preview?${new URLSearchParams(Object.fromEntries(given))}`);
};

/** Ends a job that nobody wants any more, so that its worker is free at once. Answers are of no interest. */
export function cancel(job: string): void {
	fetch(at(`v1/jobs/${job}`), keyed({ method: "DELETE", keepalive: true }, key())).catch(() => {});
}

/**
 * Events of one connection, with their ids. Throws Refusal for an answer that is an error, Lost where the connection
 * fails or ends early, and the signal's reason.
 */
export async function* events(
	url: URL,
	lastId: string,
	signal: AbortSignal,
): AsyncGenerator<{ id: string; event: JobEvent }, void, undefined> {
	let response: Response;
	try {
		response = await asked(url, {
			headers: { accept: "text/event-stream", ...(lastId && { "last-event-id": lastId }) },
			cache: "no-store",
			signal,
		});
	} catch (error) {
		signal.throwIfAborted();
		throw error instanceof Refusal ? error : new Lost(String(error));
	}
	// The job has ended, and all of it was seen.
	if (response.status === 204) return;
	if (!response.ok || !response.body) throw await refusalOf(response);
	try {
		for await (const fields of frames(response.body)) {
			const data = fields.get("data");
			if (data !== undefined) yield { id: fields.get("id") ?? "", event: JSON.parse(data) as JobEvent };
		}
	} catch (error) {
		signal.throwIfAborted();
		throw error instanceof SyntaxError ? error : new Lost(String(error));
	}
}

/** Fields of each server-sent event, by name. */
async function* frames(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<Map<string, string>> {
	const reader = body.getReader();
	const decoder = new TextDecoder();
	try {
		for (let text = ""; ; ) {
			const { value, done } = await reader.read();
			if (done) return;
			text += decoder.decode(value, { stream: true });
			const whole = text.split("\n\n");
			text = whole.pop() ?? "";
			for (const frame of whole)
				yield new Map(
					frame.split("\n").map((line) => {
						const colon = line.indexOf(":");
						return [line.slice(0, colon), line.slice(colon + 1).trim()];
					}),
				);
		}
	} finally {
		await reader.cancel().catch(() => {});
	}
}

async function refusalOf(response: Response): Promise<Refusal | Lost> {
	const seconds = Number(response.headers.get("retry-after"));
	try {
		const { error } = await response.json();
		if (response.status < 500 || error.code === "no_workers" || error.code === "queue_full")
			return new Refusal(error.message, error.code, seconds ? 1000 * seconds : undefined);
	} catch {
		// Something between us and the edge answered.
	}
	return new Lost(`The edge answered ${response.status}.`);
}
