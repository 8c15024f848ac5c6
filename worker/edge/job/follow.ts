/** A job's log, followed by the Worker that holds the response: pulled only as fast as the reader takes it. */
import type { JobEvent } from "../../protocol/job.ts";
import { ApiError } from "../http/errors.ts";
import type { Owner } from "../objects.ts";
import { type Env, settingsOf } from "../settings.ts";
import { type LoggedFinal, withPicture } from "./kept-picture.ts";
import { END, OWNER_HEADER } from "./readers.ts";

const RETRIES = 3;

/** One event as readers get it: JSON of the protocol event, without the codes. */
export interface LogRow {
	n: number;
	type: JobEvent["type"];
	json: string;
}

export function jobGone(param = "lastEventId"): ApiError {
	return new ApiError(
		404,
		"job_not_found",
		"There is no such job. Logs are deleted some time after the end; ask for the picture again.",
		{ param },
	);
}

/** The id of a job that this deployment may have made, or null. */
export function jobId(env: Env, id: string): DurableObjectId | null {
	if (!/^[0-9a-f]{64}$/.test(id)) return null;
	try {
		return env.JOB.idFromString(id);
	} catch {
		return null;
	}
}

/**
 * Events after number `after`, up to the end of the log; null after each silence. While it runs, and however slowly the
 * reader takes the events, one stream to the job is open, which is how the job knows that somebody is there; `signal`
 * ends that. A deploy or a restart breaks streams: it goes on with a fresh one. That shows only to who reads, so while
 * the reader takes nothing a second stream, of silence, is read in its place. `owner` is who asks; to anybody else than
 * its own the job is gone.
 */
export async function* follow(
	env: Env,
	job: string,
	after: number,
	signal: AbortSignal,
	owner: Owner = null,
): AsyncGenerator<LogRow | null> {
	const headers: Record<string, string> = owner === null ? {} : { [OWNER_HEADER]: owner };
	const id = env.JOB.idFromString(job);
	let n = after;
	for (let failures = 0; !signal.aborted; ) {
		let lines: Lines | undefined;
		const leave = () => void lines?.cancel();
		signal.addEventListener("abort", leave, { once: true });
		try {
			const { status, body } = await env.JOB.get(id).fetch(new Request(`http://job/${n}`, { signal, headers }));
			if (status === 404) throw jobGone();
			if (body === null) throw new Error(`the job answered ${status}`);
			lines = new Lines(body);
			if (signal.aborted) return;
			for (;;) {
				const row = await lines.event();
				if (signal.aborted || row === END) return;
				if (row?.type === "final") row.json = await whole(env, job, row.json);
				failures = 0;
				if (row !== null) n = row.n;
				const attendance = attend(env, id, headers, signal);
				try {
					yield row;
				} finally {
					attendance.end();
				}
			}
		} catch (error) {
			if (signal.aborted) return;
			failures += 1;
			if (error instanceof ApiError || failures > RETRIES) throw error;
			// The first one is a stream that broke: its job is there again at once.
			await pause(250 * (failures - 1));
		} finally {
			signal.removeEventListener("abort", leave);
			leave();
		}
	}
}

/** A final event with its picture. One that was deleted meanwhile went with its job. */
async function whole(env: Env, job: string, json: string): Promise<string> {
	const final = JSON.parse(json) as LoggedFinal;
	if (final.base64 !== null) return json;
	const event = await withPicture(env, job, final);
	if (event === null) throw jobGone();
	return JSON.stringify(event);
}

/** After every event that there can be. */
const NOTHING = Number.MAX_SAFE_INTEGER;

/**
 * Stays with a job whose reader takes nothing, from a part of the grace on: reads its stream past all events, and opens
 * it again at once where it breaks.
 */
function attend(env: Env, id: DurableObjectId, headers: Record<string, string>, signal: AbortSignal): { end(): void } {
	const patience = (settingsOf(env).READER_GRACE_SECONDS * 1000) / 4;
	const done = new AbortController();
	const either = AbortSignal.any([signal, done.signal]);
	const stay = async () => {
		for (let failures = 0; !either.aborted && failures <= RETRIES; ) {
			let lines: Lines | undefined;
			const leave = () => void lines?.cancel();
			either.addEventListener("abort", leave, { once: true });
			try {
				const { body } = await env.JOB.get(id).fetch(new Request(`http://job/${NOTHING}`, { signal: either, headers }));
				// The job is gone: who follows it will see.
				if (body === null) return;
				lines = new Lines(body);
				while (!either.aborted && (await lines.event()) !== END) failures = 0;
				return;
			} catch {
				failures += 1;
				if (!either.aborted) await pause(Math.min(patience, 250 * failures));
			} finally {
				either.removeEventListener("abort", leave);
				leave();
			}
		}
	};
	const timer = setTimeout(stay, patience);
	return {
		end() {
			clearTimeout(timer);
			done.abort();
		},
	};
}

/** The stream of a job (readers.ts), event by event. */
class Lines {
	readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
	readonly #decoder = new TextDecoder();
	/** Parts of the line that has begun, and lines that are whole. */
	#begun: string[] = [];
	#lines: string[] = [];

	constructor(stream: ReadableStream<Uint8Array>) {
		this.#reader = stream.getReader();
	}

	/** The next event, null after a silence, END after the last one. Throws when the stream breaks. */
	async event(): Promise<LogRow | null | typeof END> {
		const head = await this.#line();
		if (head === END) return END;
		if (head === "") return null;
		const [n, type] = head.split(" ");
		return { n: Number(n), type: type as LogRow["type"], json: await this.#line() };
	}

	async cancel(): Promise<void> {
		await this.#reader.cancel().catch(() => {});
	}

	async #line(): Promise<string> {
		while (this.#lines.length === 0) {
			const { done, value } = await this.#reader.read();
			if (done) throw new Error("the job's stream ended before its log");
			const [rest, ...lines] = this.#decoder.decode(value, { stream: true }).split("\n");
			this.#begun.push(rest);
			for (const line of lines) {
				this.#lines.push(this.#begun.join(""));
				this.#begun = [line];
			}
		}
		return this.#lines.shift()!;
	}
}

function pause(milliseconds: number): Promise<void> {
	return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
