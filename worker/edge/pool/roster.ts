/**
 * Who is there: the workers' sockets, which hibernate, and what each said of itself, which is kept beside them. In
 * memory by session and by model; read again on waking.
 */

import { type Hello, PING, PONG, type PoolMessage } from "../../protocol/messages.ts";
import type { ModelInfo } from "../../protocol/model-info.ts";
import { newSeat, type Seat, seatOf, sit } from "./seat.ts";

/** An admitted worker. Its seat is written by the roster alone. */
export interface Member {
	readonly socket: WebSocket;
	readonly seat: Readonly<Seat>;
	readonly hello: Omit<Hello, "holding" | "type">;
	/** When it was admitted. */
	readonly since: number;
	/** Numerics id by digest of what it offers. */
	readonly offers: ReadonlyMap<string, string>;
	readonly capabilities: ReadonlySet<string>;
	/** The same as one text, equal for those who can do the same. */
	readonly abilities: string;
}

const OPEN = 1;

export class Roster {
	readonly #ctx: DurableObjectState;
	/** By session, the longest-standing first. */
	readonly #members = new Map<string, Member>();
	readonly #byDigest = new Map<string, Set<Member>>();
	readonly #byName = new Map<string, Member>();
	/** Sessions that have yet to say hello. */
	readonly #strangers = new Set<string>();
	/** Another number whenever a worker came, went, or began to drain. */
	edition = 0;
	/** Sessions of which something changed since whoever counts their slots looked last; emptied there. */
	readonly touched = new Set<string>();
	readonly #seats = new WeakMap<WebSocket, Seat>();
	/** Names of those that are not let in. */
	readonly revoked: ReadonlySet<string>;
	/** Workers whose connection dropped while there was no pool to see it. */
	readonly lost: number;

	constructor(ctx: DurableObjectState) {
		this.#ctx = ctx;
		ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, PONG));
		ctx.storage.sql.exec(
			"CREATE TABLE IF NOT EXISTS worker (session TEXT PRIMARY KEY, hello TEXT NOT NULL, since INTEGER NOT NULL)",
		);
		ctx.storage.sql.exec("CREATE TABLE IF NOT EXISTS revoked (worker TEXT PRIMARY KEY)");
		this.revoked = new Set(
			ctx.storage.sql
				.exec<{ worker: string }>("SELECT worker FROM revoked")
				.toArray()
				.map(({ worker }) => worker),
		);
		const sockets = new Map(this.sockets().map((socket) => [this.seat(socket).session, socket]));
		let lost = 0;
		for (const { session, hello, since } of ctx.storage.sql
			.exec<{ session: string; hello: string; since: number }>("SELECT * FROM worker ORDER BY since, rowid")
			.toArray()) {
			const socket = sockets.get(session);
			// What it said was parsed when it came. A new release of this code drops sockets, and so meets none of the old.
			if (socket) this.#insert(socket, JSON.parse(hello), since);
			else {
				lost += 1;
				ctx.storage.sql.exec("DELETE FROM worker WHERE session = ?", session);
			}
		}
		this.lost = lost;
		for (const session of sockets.keys()) if (!this.#members.has(session)) this.#strangers.add(session);
	}

	/** Admitted workers, the longest-standing first. */
	members(): Iterable<Member> {
		return this.#members.values();
	}
	get size(): number {
		return this.#members.size;
	}
	/** How many sockets have yet to say hello. */
	get strangers(): number {
		return this.#strangers.size;
	}
	/** The worker of this name. */
	named(worker: string): Member | undefined {
		return this.#byName.get(worker);
	}
	member(session: string): Member | undefined {
		return this.#members.get(session);
	}
	/** Workers that offer a model. */
	offering(digest: string): ReadonlySet<Member> {
		return this.#byDigest.get(digest) ?? NOBODY;
	}
	/** Models that are offered, in the order they came. */
	digests(): Iterable<string> {
		return this.#byDigest.keys();
	}

	/** Open ones, admitted or not. */
	sockets(): WebSocket[] {
		return this.#ctx.getWebSockets().filter(({ readyState }) => readyState === OPEN);
	}

	seat(socket: WebSocket): Readonly<Seat> {
		let seat = this.#seats.get(socket);
		if (!seat) this.#seats.set(socket, (seat = seatOf(socket)));
		return seat;
	}

	/** A socket that has yet to say hello. */
	accept(socket: WebSocket, known: Pick<Seat, "named" | "until">): void {
		const seat = newSeat(crypto.randomUUID(), known);
		this.#ctx.acceptWebSocket(socket, [seat.session]);
		this.#seats.set(socket, seat);
		this.#strangers.add(seat.session);
		sit(socket, seat);
	}

	/** Something came. Kept in memory: after a sleep a worker is given its silence anew. */
	heard(socket: WebSocket): void {
		(this.seat(socket) as Seat).seen = Date.now();
	}

	/** When a worker was last heard, pings included. */
	lastHeard(socket: WebSocket): number {
		return Math.max(this.seat(socket).seen, this.#ctx.getWebSocketAutoResponseTimestamp(socket)?.getTime() ?? 0);
	}

	change(socket: WebSocket, change: Partial<Seat>): void {
		const seat = Object.assign(this.seat(socket), change);
		sit(socket, seat);
		this.touched.add(seat.session);
		if ("draining" in change) this.edition += 1;
	}

	admit(socket: WebSocket, { type: _, holding: __, ...hello }: Hello): Member {
		const since = Date.now();
		this.change(socket, { worker: hello.worker, seen: since });
		this.#ctx.storage.sql.exec(
			"INSERT INTO worker (session, hello, since) VALUES (?, ?, ?)",
			this.seat(socket).session,
			JSON.stringify(hello),
			since,
		);
		return this.#insert(socket, hello, since);
	}

	forget(session: string): void {
		this.#strangers.delete(session);
		const member = this.#members.get(session);
		if (!member) return;
		this.#members.delete(session);
		if (this.#byName.get(member.hello.worker) === member) this.#byName.delete(member.hello.worker);
		this.touched.add(session);
		this.edition += 1;
		for (const digest of member.offers.keys()) {
			const others = this.#byDigest.get(digest);
			others?.delete(member);
			if (others?.size === 0) this.#byDigest.delete(digest);
		}
		this.#ctx.storage.sql.exec("DELETE FROM worker WHERE session = ?", session);
	}

	/** Whether a name is let in from now on. */
	judge(worker: string, revoked: boolean): void {
		const names = this.revoked as Set<string>;
		if (revoked) names.add(worker);
		else names.delete(worker);
		const query = revoked
			? "INSERT OR IGNORE INTO revoked (worker) VALUES (?)"
			: "DELETE FROM revoked WHERE worker = ?";
		this.#ctx.storage.sql.exec(query, worker);
	}

	send(socket: WebSocket, message: PoolMessage): void {
		try {
			socket.send(JSON.stringify(message));
		} catch {
			// The socket closed under our hands; its close event gives the job to another worker.
		}
	}

	#insert(socket: WebSocket, hello: Member["hello"], since: number): Member {
		const offers = new Map(hello.models.map(({ info, numerics }) => [info.digest, numerics]));
		const capabilities = new Set(hello.capabilities);
		const abilities = [...capabilities].sort().join(" ");
		const member: Member = { socket, seat: this.seat(socket), hello, since, offers, capabilities, abilities };
		const { session } = member.seat;
		this.#strangers.delete(session);
		this.#members.set(session, member);
		this.#byName.set(hello.worker, member);
		this.touched.add(session);
		this.edition += 1;
		for (const digest of offers.keys()) {
			const others = this.#byDigest.get(digest);
			if (others) others.add(member);
			else this.#byDigest.set(digest, new Set([member]));
		}
		return member;
	}
}

const NOBODY: ReadonlySet<never> = new Set();

/** What a worker says of a model that it offers. */
export function infoOf({ hello }: Member, digest: string): ModelInfo {
	return hello.models.find(({ info }) => info.digest === digest)!.info;
}
