/** Who is there: the workers' sockets, which hibernate, and what each said of itself, which is kept beside them. */
import { Hello, type PoolMessage } from "../protocol/messages.ts";
import { type Seat, seatOf, sit } from "./seat.ts";

interface Card {
	hello: Hello;
	/** When it was admitted. */
	since: number;
}
/** An admitted worker. */
export interface Member extends Card {
	socket: WebSocket;
	seat: Seat;
}

const OPEN = 1;

export class Roster {
	readonly #ctx: DurableObjectState;
	/** By session, parsed once. */
	readonly #cards = new Map<string, Card>();

	constructor(ctx: DurableObjectState) {
		this.#ctx = ctx;
		ctx.storage.sql.exec(
			"CREATE TABLE IF NOT EXISTS worker (session TEXT PRIMARY KEY, hello TEXT NOT NULL, since INTEGER NOT NULL)",
		);
	}

	/** Admitted workers, the longest-standing first. */
	members(): Member[] {
		const members: Member[] = [];
		for (const socket of this.sockets()) {
			const seat = seatOf(socket);
			const card = seat.worker === null ? undefined : this.#card(seat.session);
			if (card) members.push({ socket, seat, ...card });
		}
		return members.sort((a, b) => a.since - b.since);
	}

	/** Open ones, admitted or not. */
	sockets(): WebSocket[] {
		return this.#ctx.getWebSockets().filter(({ readyState }) => readyState === OPEN);
	}

	/** Sessions of admitted workers whose socket is gone. */
	gone(): string[] {
		return this.#sql<{ session: string }>("SELECT session FROM worker").flatMap(({ session }) =>
			this.#socket(session) ? [] : [session],
		);
	}

	admit(socket: WebSocket, seat: Seat, hello: Hello): void {
		sit(socket, { ...seat, worker: hello.worker, slots: hello.slots, seen: Date.now() });
		this.#sql(
			"INSERT INTO worker (session, hello, since) VALUES (?, ?, ?)",
			seat.session,
			JSON.stringify(hello),
			Date.now(),
		);
	}

	forget(session: string): void {
		this.#cards.delete(session);
		this.#sql("DELETE FROM worker WHERE session = ?", session);
	}

	send(session: string, message: PoolMessage): void {
		try {
			this.#socket(session)?.send(JSON.stringify(message));
		} catch {
			// The socket closed under our hands; its close event gives the job to another worker.
		}
	}

	#card(session: string): Card | undefined {
		let card = this.#cards.get(session);
		if (!card) {
			const [row] = this.#sql<{ hello: string; since: number }>(
				"SELECT hello, since FROM worker WHERE session = ?",
				session,
			);
			if (!row) return undefined;
			card = { hello: Hello.parse(JSON.parse(row.hello)), since: row.since };
			this.#cards.set(session, card);
		}
		return card;
	}

	#socket(session: string): WebSocket | undefined {
		return this.#ctx.getWebSockets(session).find(({ readyState }) => readyState === OPEN);
	}

	#sql<T extends Record<string, SqlValue>>(query: string, ...bindings: SqlValue[]): T[] {
		return this.#ctx.storage.sql.exec<T>(query, ...bindings).toArray();
	}
}

export function offers({ hello }: Member, digest: string): boolean {
	return hello.models.some(({ info }) => info.digest === digest);
}

export function numericsOf({ hello }: Member, digest: string): string | undefined {
	return hello.models.find(({ info }) => info.digest === digest)?.numerics;
}
