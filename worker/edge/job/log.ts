/** The event log of one job, in SQLite. An event is as long as its picture, a row is not: it is cut into pieces. */
import type { JobEvent, ScaleEvent } from "../../protocol/job.ts";
import type { LoggedEvent } from "./kept-picture.ts";

/** Characters a piece; a Durable Object's row holds 2 MB. */
const PIECE_CHARS = 1_000_000;

/** An event as it lies in the log, without its JSON. */
export interface Entry {
	n: number;
	type: JobEvent["type"];
	pieces: number;
}

export class JobLog {
	readonly #storage: DurableObjectState["storage"];

	constructor(storage: DurableObjectState["storage"]) {
		this.#storage = storage;
	}

	/** Before the first event. */
	begin(): void {
		this.#storage.sql.exec(`
			CREATE TABLE event (n INTEGER PRIMARY KEY, type TEXT NOT NULL, scale INTEGER UNIQUE, codes TEXT,
				pieces INTEGER NOT NULL);
			CREATE TABLE piece (n INTEGER NOT NULL, i INTEGER NOT NULL, json TEXT NOT NULL, PRIMARY KEY (n, i));
		`);
	}

	/** At the end of the log. Codes are kept beside the event: they are for workers, not for readers. */
	append(event: LoggedEvent): void {
		const { codes, ...shown } = event.type === "scale" ? event : { ...event, codes: null };
		const json = JSON.stringify(shown);
		const pieces = Math.ceil(json.length / PIECE_CHARS);
		const n = this.length();
		this.#storage.transactionSync(() => {
			this.#exec(
				"INSERT INTO event (n, type, scale, codes, pieces) VALUES (?, ?, ?, ?, ?)",
				n,
				event.type,
				event.type === "scale" ? event.index : null,
				codes,
				pieces,
			);
			for (let i = 0; i < pieces; i++)
				this.#exec(
					"INSERT INTO piece (n, i, json) VALUES (?, ?, ?)",
					n,
					i,
					json.slice(i * PIECE_CHARS, (i + 1) * PIECE_CHARS),
				);
		});
	}

	length(): number {
		return this.#exec<{ length: number }>("SELECT coalesce(max(n) + 1, 0) AS length FROM event")[0].length;
	}

	/** The first event after number `after`. */
	next(after: number): Entry | undefined {
		return this.#exec<Entry & Record<string, SqlValue>>(
			"SELECT n, type, pieces FROM event WHERE n > ? ORDER BY n LIMIT 1",
			after,
		)[0];
	}

	/** The newest event that is no scale's, with its JSON whole. */
	last(): { type: JobEvent["type"]; json: string } {
		const [event] = this.#exec<Entry & Record<string, SqlValue>>(
			"SELECT n, type, pieces FROM event WHERE scale IS NULL ORDER BY n DESC LIMIT 1",
		);
		return { type: event.type, json: this.#whole(event) };
	}

	/** One piece of an event's JSON. */
	piece(n: number, i: number): string {
		return this.#exec<{ json: string }>("SELECT json FROM piece WHERE n = ? AND i = ?", n, i)[0].json;
	}

	#whole({ n, pieces }: Entry): string {
		return Array.from({ length: pieces }, (_, i) => this.piece(n, i)).join("");
	}

	/** Every event, as it came. */
	all(): LoggedEvent[] {
		const rows = this.#exec<Entry & { codes: string | null } & Record<string, SqlValue>>(
			"SELECT n, type, pieces, codes FROM event ORDER BY n",
		);
		return rows.map(({ codes, ...row }) => ({ ...JSON.parse(this.#whole(row)), ...(codes !== null && { codes }) }));
	}

	/** How many scales there are. */
	made(): number {
		return this.#exec<{ made: number }>("SELECT count(scale) AS made FROM event")[0].made;
	}

	/** Number of the last scale; -1 when there is none. */
	lastScale(): number {
		return this.#exec<{ scale: number }>("SELECT coalesce(max(scale), -1) AS scale FROM event")[0].scale;
	}

	/** Codes of all scales so far, the first one first. */
	codes(): string[] {
		return this.#exec<{ codes: string }>("SELECT codes FROM event WHERE scale IS NOT NULL ORDER BY scale").map(
			({ codes }) => codes,
		);
	}

	/** The first `count` scales, as they were delivered. */
	scales(count: number): ScaleEvent[] {
		const rows = this.#exec<Entry & { codes: string } & Record<string, SqlValue>>(
			"SELECT n, type, pieces, codes FROM event WHERE scale < ? ORDER BY scale",
			count,
		);
		return rows.map((row) => ({ ...JSON.parse(this.#whole(row)), codes: row.codes }));
	}

	#exec<T extends Record<string, SqlValue>>(query: string, ...bindings: SqlValue[]): T[] {
		return this.#storage.sql.exec<T>(query, ...bindings).toArray();
	}
}
