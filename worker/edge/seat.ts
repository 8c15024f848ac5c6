/** A worker's socket: what it remembers while the pool sleeps, and what comes over it. */
import { MAX_WORKER_MESSAGE_BYTES } from "../protocol/limits.ts";
import { PROTOCOL_VERSION, WorkerMessage } from "../protocol/messages.ts";

/** Attached to the socket. Models are in the pool's `worker` table: they are too large for an attachment. */
export interface Seat {
	session: string;
	/** Null until `hello`. */
	worker: string | null;
	seen: number;
	slots: number;
	draining: boolean;
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
	const { type, version } = (json ?? {}) as { type?: unknown; version?: unknown };
	if (type === "hello" && version !== PROTOCOL_VERSION) {
		const theirs = JSON.stringify(version)?.slice(0, 20);
		return (
			`this edge speaks protocol version ${PROTOCOL_VERSION}, the worker ${theirs}; ` +
			"run the same release on both sides"
		);
	}
	const result = WorkerMessage.safeParse(json);
	if (result.success) return result.data;
	const { path, message } = result.error.issues[0];
	return `a message does not fit the protocol: ${path.join(".")}: ${message}`.slice(0, 500);
}
