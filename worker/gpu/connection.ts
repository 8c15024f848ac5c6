import { MAX_POOL_MESSAGE_CHARS } from "../protocol/limits.ts";
import {
	CONNECT_PATH,
	type Hello,
	Holding,
	type Lease,
	PING,
	PONG,
	PoolMessage,
	type WorkerMessage,
} from "../protocol/messages.ts";
import { type Credential, RegistrationRefused } from "./registration.ts";
import { edgeUrl } from "./settings.ts";

export interface ConnectionEvents {
	/** Sent at every connect. */
	hello(): Hello;
	/** Leases in hand, for heartbeats. */
	holding(): Holding[];
	admitted(): void;
	/** The connection is lost or left: nothing is leased until the next `admitted`. May come again. */
	parted(): void;
	/** For good: what the edge said. */
	refused(reason: string): void;
	leased(lease: Lease): void;
	/** A lease of a newer edge that asks for what this worker does not know. */
	unreadable(lease: Holding): void;
	cancelled(holding: Holding): void;
	log(line: string): void;
}

/** A dial that is not answered with a welcome by then is given up. */
const DIAL_MS = 15_000;
/** Heartbeats without a sound of the edge after which the connection counts as lost, whatever TCP says. */
const SILENT_BEATS = 3;
/** A token that ends sooner is not renewed. */
const LAST_TRY_SECONDS = 1;

/**
 * One WebSocket to the pool, dialled again with growing pauses until closed. What is in hand meanwhile stays there:
 * pictures are delivered by HTTP, and the next hello names them.
 */
export class Connection {
	#url: URL;
	#credential: Credential;
	#dials = 0;
	#on: ConnectionEvents;
	#socket: WebSocket | undefined;
	#heartbeat: ReturnType<typeof setInterval> | undefined;
	#retry: ReturnType<typeof setTimeout> | undefined;
	#renewal: ReturnType<typeof setTimeout> | undefined;
	#heard = 0;
	/** Whether something was in hand at the last heartbeat. */
	#busy = false;
	#failures = 0;
	#closed = false;
	/** The edge did not take a token that it gave: it signs with another secret now, and only another token helps. */
	#stale = false;

	/**
	 * `credential`: what to dial with, and to stay with. A RegistrationRefused is for good. `self`: what the worker's
	 * pool follows from beside its name, where the edge has several.
	 */
	constructor(edge: string, credential: Credential, on: ConnectionEvents, self: Readonly<Record<string, string>> = {}) {
		this.#url = edgeUrl(edge, CONNECT_PATH);
		for (const [name, value] of Object.entries(self)) this.#url.searchParams.set(name, value);
		this.#url.protocol = this.#url.protocol === "https:" ? "wss:" : "ws:";
		this.#credential = credential;
		this.#on = on;
	}

	dial(): void {
		this.#closed = false;
		const dial = ++this.#dials;
		const current = () => dial === this.#dials && !this.#closed;
		const renewing = this.#stale;
		(renewing ? this.#credential.renewed() : this.#credential.current()).then(
			(token) => current() && this.#open({ authorization: `Bearer ${token}` }, renewing),
			(error: Error) => {
				if (!current()) return;
				if (!(error instanceof RegistrationRefused)) return this.#again(reasonOf(error));
				this.close();
				this.#on.refused(error.message);
			},
		);
	}

	/** `renewed`: with a token that was given just now. */
	#open(headers: Record<string, string>, renewed: boolean): void {
		// Node and Deno both take headers here; the DOM's types do not know it.
		const socket = new WebSocket(this.#url, { headers } as unknown as string[]);
		this.#socket = socket;
		let opened = false;
		const late = setTimeout(() => this.#dropped(socket, "no answer"), DIAL_MS);
		socket.onopen = () => {
			opened = true;
			this.send(this.#on.hello());
		};
		socket.onmessage = ({ data }) => {
			if (socket !== this.#socket) return;
			clearTimeout(late);
			this.#heard = Date.now();
			if (data !== PONG) this.#receive(String(data));
		};
		socket.onerror = () => {};
		socket.onclose = ({ code }) => {
			clearTimeout(late);
			if (socket !== this.#socket || this.#closed) return;
			if (opened) this.#dropped(socket, String(code));
			else void this.#ask(headers, renewed).then((reason) => this.#dropped(socket, reason));
		};
	}

	/** False when there is no connection. */
	send(message: WorkerMessage): boolean {
		return this.#sendText(JSON.stringify(message));
	}

	/** Leaves the pool, until `dial` is called again. */
	close(): void {
		this.#closed = true;
		clearTimeout(this.#retry);
		clearTimeout(this.#renewal);
		clearInterval(this.#heartbeat);
		this.#socket?.close(1000, "worker stops");
		this.#on.parted();
	}

	#sendText(text: string): boolean {
		if (this.#socket?.readyState !== WebSocket.OPEN) return false;
		this.#socket.send(text);
		return true;
	}

	#receive(text: string): void {
		const json = text.length <= MAX_POOL_MESSAGE_CHARS ? safeJson(text) : undefined;
		const parsed = PoolMessage.safeParse(json);
		if (!parsed.success) {
			const lease = Holding.safeParse(json);
			if (lease.success && (json as { type?: unknown }).type === "lease") this.#on.unreadable(lease.data);
			else this.#on.log("ignored a message of the edge that this worker does not understand");
			return;
		}
		const message = parsed.data;
		switch (message.type) {
			case "welcome":
				this.#failures = 0;
				this.#stale = false;
				this.#busy = false;
				clearInterval(this.#heartbeat);
				this.#heartbeat = setInterval(() => this.#beat(message.heartbeatSeconds), message.heartbeatSeconds * 1000);
				this.#renewWithin(message.renewSeconds);
				this.#on.admitted();
				break;
			case "renewed":
				this.#renewWithin(message.renewSeconds);
				break;
			case "refused":
				this.close();
				this.#on.refused(message.reason);
				break;
			case "lease":
				this.#on.leased(message);
				break;
			case "cancel":
				this.#on.cancelled({ job: message.job, attempt: message.attempt });
		}
	}

	#beat(seconds: number): void {
		if (Date.now() - this.#heard > SILENT_BEATS * seconds * 1000) {
			if (this.#socket) this.#dropped(this.#socket, "the edge is silent");
			return;
		}
		this.#sendText(PING);
		const holding = this.#on.holding();
		// Empty hands are told once: a pool with nothing to do sleeps.
		if (holding.length > 0 || this.#busy) this.send({ type: "heartbeat", holding });
		this.#busy = holding.length > 0;
	}

	/**
	 * Sends another token in the middle of that time, so that there are tries left where the edge cannot be asked.
	 * Without one the edge ends the connection then, and whoever dials again needs one anyway.
	 */
	#renewWithin(seconds: number | undefined): void {
		clearTimeout(this.#renewal);
		if (seconds === undefined || seconds < LAST_TRY_SECONDS) return;
		const socket = this.#socket;
		const wait = seconds * (0.4 + 0.2 * Math.random());
		this.#renewal = setTimeout(async () => {
			try {
				const token = await this.#credential.renewed();
				if (socket === this.#socket) this.send({ type: "renew", token });
			} catch (error) {
				this.#on.log(`the token could not be renewed (${reasonOf(error)})`);
				const again = !(error instanceof RegistrationRefused) && socket === this.#socket && !this.#closed;
				if (again) this.#renewWithin(seconds - wait);
			}
		}, wait * 1000);
	}

	#dropped(socket: WebSocket, why: string): void {
		if (socket !== this.#socket || this.#closed) return;
		clearInterval(this.#heartbeat);
		clearTimeout(this.#renewal);
		// Its own close may never come: the other side is gone.
		this.#socket = undefined;
		socket.close();
		this.#on.parted();
		this.#again(why);
	}

	#again(why: string): void {
		// Spread, so that a restarted edge does not meet all its workers at once.
		const pause = Math.min(10_000, 250 * 2 ** this.#failures++) * (0.5 + Math.random());
		if (this.#failures > 1)
			this.#on.log(`no connection to ${this.#url.origin} (${why}); trying again in ${(pause / 1000).toFixed(1)} s`);
		this.#retry = setTimeout(() => this.dial(), pause);
	}

	/**
	 * A WebSocket does not tell why it was refused, a plain GET does. Ends here when it was for the secret: a token that
	 * was kept may have been signed with the one before, a new one was not.
	 */
	async #ask(headers: Record<string, string>, renewed: boolean): Promise<string> {
		const url = new URL(this.#url);
		url.protocol = url.protocol.replace("ws", "http");
		try {
			const response = await fetch(url, { headers, signal: AbortSignal.timeout(DIAL_MS) });
			const { error } = (await response.json()) as { error?: { message?: unknown } };
			const said = `${response.status}: ${String(error?.message ?? "").slice(0, 500)}`;
			if (response.status === 401 && !renewed) this.#stale = true;
			else if ((response.status === 401 || response.status === 403) && !this.#closed) {
				this.close();
				this.#on.refused(said);
			}
			return said;
		} catch (error) {
			return reasonOf(error);
		}
	}
}

/** What the system says, such as ECONNREFUSED, where Node says no more than "fetch failed". */
function reasonOf(error: unknown): string {
	const { message, cause } = error as Error;
	return cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : message;
}

function safeJson(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}
