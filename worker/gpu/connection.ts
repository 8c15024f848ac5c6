import { MAX_WORKER_MESSAGE_BYTES } from "../protocol/limits.ts";
import { CONNECT_PATH, type Hello, type Lease, PoolMessage, type WorkerMessage } from "../protocol/messages.ts";
import { edgeUrl } from "./settings.ts";

export interface ConnectionEvents {
	/** Sent at every connect. */
	hello(): Hello;
	/** Jobs in hand, for heartbeats. */
	leases(): string[];
	admitted(): void;
	refused(reason: string): void;
	leased(lease: Lease): void;
	cancelled(job: string, attempt: number): void;
	/** Leases of a lost connection are given to others. */
	lost(): void;
	log(line: string): void;
}

/** One WebSocket to the pool, dialled again with growing pauses until closed. */
export class Connection {
	#url: URL;
	#secret: string;
	#on: ConnectionEvents;
	#socket: WebSocket | undefined;
	#heartbeat: ReturnType<typeof setInterval> | undefined;
	#retry: ReturnType<typeof setTimeout> | undefined;
	#failures = 0;
	#closed = false;

	constructor(edge: string, secret: string, on: ConnectionEvents) {
		this.#url = edgeUrl(edge, CONNECT_PATH);
		this.#url.protocol = this.#url.protocol === "https:" ? "wss:" : "ws:";
		this.#secret = secret;
		this.#on = on;
	}

	dial(): void {
		this.#closed = false;
		// Node and Deno both take headers here; the DOM's types do not know it.
		const options = { headers: { authorization: `Bearer ${this.#secret}` } };
		const socket = new WebSocket(this.#url, options as unknown as string[]);
		this.#socket = socket;
		socket.onopen = () => this.send(this.#on.hello());
		socket.onmessage = ({ data }) => this.#receive(String(data));
		socket.onerror = () => {};
		socket.onclose = ({ code }) => socket === this.#socket && this.#dropped(code);
	}

	/** False when there is no connection. */
	send(message: WorkerMessage): boolean {
		if (this.#socket?.readyState !== WebSocket.OPEN) return false;
		this.#socket.send(JSON.stringify(message));
		return true;
	}

	/** Leaves the pool, until `dial` is called again. */
	close(): void {
		this.#closed = true;
		clearTimeout(this.#retry);
		clearInterval(this.#heartbeat);
		this.#socket?.close(1000, "worker stops");
	}

	#receive(text: string): void {
		const parsed = text.length <= MAX_WORKER_MESSAGE_BYTES ? PoolMessage.safeParse(safeJson(text)) : undefined;
		if (!parsed?.success) {
			this.#on.log("ignored a message of the edge that this worker does not understand");
			return;
		}
		const message = parsed.data;
		switch (message.type) {
			case "welcome":
				this.#failures = 0;
				clearInterval(this.#heartbeat);
				this.#heartbeat = setInterval(
					() => this.send({ type: "heartbeat", leases: this.#on.leases() }),
					message.heartbeatSeconds * 1000,
				);
				this.#on.admitted();
				break;
			case "refused":
				this.close();
				this.#on.refused(message.reason);
				break;
			case "lease":
				this.#on.leased(message);
				break;
			case "cancel":
				this.#on.cancelled(message.job, message.attempt);
		}
	}

	#dropped(code: number): void {
		clearInterval(this.#heartbeat);
		if (this.#closed) return;
		this.#on.lost();
		const pause = Math.min(10_000, 250 * 2 ** this.#failures++);
		if (this.#failures > 1)
			this.#on.log(`no connection to ${this.#url.origin} (${code}); trying again in ${pause / 1000} s`);
		this.#retry = setTimeout(() => this.dial(), pause);
	}
}

function safeJson(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}
