/** What happened to one request, written down as it happens, not judged. Times are milliseconds of the run. */
import { createHash } from "node:crypto";
import { type EventId, type Frame, readEvent } from "../../worker/protocol/client.ts";
import type { Asked } from "./mix.ts";
import { base64Bytes, pictureProblem } from "./picture.ts";

/** Where a run's clock stands: milliseconds since it began. */
export type Clock = () => number;

export interface ConnectionTrace {
	opened: number;
	/** When its answer's headers were there; null where none came. */
	acknowledged: number | null;
	status: number | null;
	requestId: string | null;
	contentType: string | null;
	/** The event it goes on after. */
	after: EventId | null;
	bytes: number;
	/** Silence longer than any other between two chunks, and when it began; the wait for the headers not counted. */
	silence: { ms: number; from: number };
	lastByte: number | null;
	/** Whether the last bytes end an event, so that none was cut. */
	wholeEvents: boolean;
	closed: number | null;
	/** `ended`: by the edge as it should be. `broken`: by the network or the edge. `left`: by the reader. */
	how: "ended" | "broken" | "left" | "refused" | null;
	problem: string | null;
}

export interface PictureTrace {
	bytes: number;
	problem: string | null;
	/** Of the bytes that came. */
	sha256: string;
	/** The picture itself, where it is kept to be looked at later. */
	kept: Buffer | null;
	mime: string;
}

export interface FrameTrace {
	at: number;
	/** Index of its connection. */
	connection: number;
	id: EventId | null;
	type: "plan" | "scale" | "revision" | "final" | "error" | "unknown";
	/** Characters of its data. */
	chars: number;
	/** What no schema took. */
	malformed: string | null;
	picture: PictureTrace | null;
	/** Of a scale. */
	scale: { index: number; step: number; steps: number; milliseconds: number } | null;
	final: { seed: number; milliseconds: number | null; sha256: string | null; numerics: string; adapter: string } | null;
	plan: { policy: string; seed: number } | null;
	error: { code: string; message: string } | null;
}

export interface Refused {
	status: number;
	code: string;
	message: string;
	retryAfter: number | null;
}

export class Trace {
	readonly asked: Asked;
	/** When it was meant to be sent, and when it was. */
	readonly intended: number;
	sent = Number.NaN;
	/** Other requests under way when it was sent. */
	inFlight = 0;
	readonly connections: ConnectionTrace[] = [];
	readonly frames: FrameTrace[] = [];
	/** A reader that went on purpose. */
	left: { at: number; why: "cancelled" | "vanished" } | null = null;
	timedOut = false;
	refused: Refused | null = null;
	/** What ended it otherwise. */
	problem: string | null = null;
	ended = Number.NaN;
	/** Whether its pictures are kept. */
	readonly keep: boolean;
	readonly #clock: Clock;

	constructor(asked: Asked, intended: number, keep: boolean, clock: Clock) {
		this.asked = asked;
		this.intended = intended;
		this.keep = keep;
		this.#clock = clock;
	}

	get connection(): ConnectionTrace {
		return this.connections[this.connections.length - 1];
	}

	opened(after: EventId | null): void {
		this.connections.push({
			opened: this.#clock(),
			acknowledged: null,
			status: null,
			requestId: null,
			contentType: null,
			after,
			bytes: 0,
			silence: { ms: 0, from: 0 },
			lastByte: null,
			wholeEvents: true,
			closed: null,
			how: null,
			problem: null,
		});
	}

	answered(status: number, headers: Record<string, string | string[] | undefined>): void {
		const connection = this.connection;
		connection.acknowledged = this.#clock();
		connection.status = status;
		connection.requestId = first(headers["x-request-id"]);
		connection.contentType = first(headers["content-type"]);
	}

	chunk(bytes: Uint8Array): void {
		const connection = this.connection;
		const at = this.#clock();
		const from = connection.lastByte ?? connection.acknowledged ?? at;
		if (at - from > connection.silence.ms) connection.silence = { ms: at - from, from };
		connection.lastByte = at;
		connection.bytes += bytes.byteLength;
		connection.wholeEvents = bytes.length >= 2 ? bytes.at(-1) === 10 && bytes.at(-2) === 10 : bytes.at(-1) === 10;
	}

	closed(how: NonNullable<ConnectionTrace["how"]>, problem: string | null = null): void {
		const connection = this.connection;
		if (!connection || connection.how !== null) return;
		connection.closed = this.#clock();
		connection.how = how;
		connection.problem = problem;
		const from = connection.lastByte ?? connection.acknowledged;
		// Silence up to the end counts as well, but for what the reader itself has chosen to wait.
		if (from !== null && how !== "left" && connection.closed - from > connection.silence.ms)
			connection.silence = { ms: connection.closed - from, from };
	}

	frame(frame: Frame): FrameTrace {
		const read = this.asked.transport === "openai" ? openaiFrame : previewFrame;
		const trace: FrameTrace = {
			at: this.#clock(),
			connection: this.connections.length - 1,
			id: frame.id,
			type: "unknown",
			chars: frame.data.length,
			malformed: null,
			picture: null,
			scale: null,
			final: null,
			plan: null,
			error: null,
		};
		try {
			read(trace, frame, this.keep);
		} catch (error) {
			trace.malformed = (error as Error).message.replace(/\s+/g, " ").slice(0, 200);
		}
		this.frames.push(trace);
		return trace;
	}
}

function previewFrame(trace: FrameTrace, frame: Frame, keep: boolean): void {
	const event = readEvent(frame.data, frame.type);
	trace.type = event.type;
	if (event.type === "plan") trace.plan = { policy: event.policy, seed: event.seed };
	if (event.type === "error") trace.error = { code: event.code, message: event.message };
	if (event.type === "scale") {
		const { index, step, steps, milliseconds } = event;
		trace.scale = { index, step, steps, milliseconds };
		if (event.base64 !== null) trace.picture = pictureOf(event.base64, event.mime ?? "", keep);
	}
	if (event.type === "final") {
		const { seed, milliseconds, sha256, numerics, adapter } = event;
		trace.final = { seed, milliseconds, sha256, numerics, adapter };
		trace.picture = pictureOf(event.base64, event.mime, keep);
	}
}

/** OpenAI's events have no ids, no times of their own and no hash. */
function openaiFrame(trace: FrameTrace, frame: Frame, keep: boolean): void {
	const data = JSON.parse(frame.data);
	const picture = () => pictureOf(String(data.b64_json), `image/${data.output_format}`, keep);
	if (frame.type === "image_generation.partial_image") {
		const index = Number(data.partial_image_index);
		trace.type = "scale";
		trace.scale = { index, step: index + 1, steps: Number.NaN, milliseconds: Number.NaN };
		trace.picture = picture();
	} else if (frame.type === "image_generation.completed") {
		trace.type = "final";
		trace.plan = { policy: String(data.policy), seed: Number(data.seed) };
		trace.final = { seed: Number(data.seed), milliseconds: null, sha256: null, numerics: "", adapter: "" };
		trace.picture = picture();
	} else if (frame.type === "error") {
		trace.type = "error";
		const { code = "unknown", message = "" } = data.error ?? data;
		trace.error = { code: String(code), message: String(message) };
	}
}

function pictureOf(base64: string, mime: string, keep: boolean): PictureTrace {
	const bytes = base64Bytes(base64);
	if (bytes === null) return { bytes: 0, problem: "its base64 was cut", sha256: "", kept: null, mime };
	return {
		bytes: bytes.length,
		problem: pictureProblem(bytes, mime),
		sha256: createHash("sha256").update(bytes).digest("hex"),
		kept: keep ? bytes : null,
		mime,
	};
}

const first = (value: string | string[] | undefined): string | null =>
	Array.isArray(value) ? (value[0] ?? null) : (value ?? null);
