/** A worker's socket: what it remembers while the pool sleeps, and what comes over it. */
import { MAX_WORKER_MESSAGE_BYTES } from "../../protocol/limits.ts";
import { type Holding, VERSIONS, WorkerMessage } from "../../protocol/messages.ts";
import { parseWire } from "../../protocol/wire.ts";

/** Attached to the socket. Models are in the pool's `worker` table: they are too large for an attachment. */
export interface Seat {
	session: string;
	/** The name that its token has, and until when it is good. */
	named: string;
	until: number;
	/** Null until `hello`. */
	worker: string | null;
	/** When it was last heard, but for pings. */
	seen: number;
	draining: boolean;
	/** What it still has in hand though it is not its own any more; `stuck`: because nothing came of it. */
	stale: (Holding & { stuck: boolean })[];
}

export function newSeat(session: string, { named, until }: Pick<Seat, "named" | "until">): Seat {
	return {
		session,
		named,
		until,
		worker: null,
		seen: Date.now(),
		draining: false,
		stale: [],
	};
}

export function seatOf(socket: WebSocket): Seat {
	return socket.deserializeAttachment() as Seat;
}

export function sit(socket: WebSocket, seat: Seat): void {
	socket.serializeAttachment(seat);
}

/** The message, or in words what is wrong with it. */
export function readMessage(data: string | ArrayBuffer): WorkerMessage | string {
	if (typeof data !== "string") return "messages are JSON text, not binary";
	if (data.length > MAX_WORKER_MESSAGE_BYTES) return `a message is larger than ${MAX_WORKER_MESSAGE_BYTES} characters`;
	let json: unknown;
	try {
		json = JSON.parse(data);
	} catch {
		return "a message is not JSON";
	}
	// Before the schema: a worker of another version may say hello in another shape.
	const { type, versions } = (json ?? {}) as { type?: unknown; versions?: { min?: unknown; max?: unknown } };
	if (type === "hello" && commonVersion(versions) === null) {
		const theirs = JSON.stringify(versions)?.slice(0, 60) ?? "an older one";
		return (
			`this edge speaks protocol versions ${VERSIONS.min} to ${VERSIONS.max}, the worker ${theirs}; ` +
			"upgrade the older of the two"
		);
	}
	const result = parseWire(WorkerMessage, json);
	if (result.success) return result.data;
	const { path, message } = result.error.issues[0];
	return `a message does not fit the protocol: ${path.join(".")}: ${message}`.slice(0, 500);
}

/** The newest version that both speak, or null. */
export function commonVersion(theirs: { min?: unknown; max?: unknown } | null | undefined): number | null {
	const { min, max } = theirs ?? {};
	if (typeof min !== "number" || typeof max !== "number") return null;
	const version = Math.min(max, VERSIONS.max);
	return version >= Math.max(min, VERSIONS.min) ? version : null;
}
