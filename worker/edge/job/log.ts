/**
 * The event log of one job, in SQLite. An event is as long as its picture, a row is not: it is cut into pieces. A scale
 * may be told to readers before it is written: whoever else looks at the log has it written first.
 */
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

interface Row extends Entry {
	scale: number | null;
	codes: string | null;
	json: string;
}

export class JobLog {
	readonly #storage: DurableObjectState["storage"];
	/** The newest event, not written yet, and what is to be written with it. */
	#told: { row: Row; also: () => void } | null = null;

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
		const row = this.#rowOf(event);
		this.#storage.transactionSync(() => this.#insert(row));
	}

	/** At the end of the log, for `next` and `piece` alone until it is written. `also` writes what belongs to it. */
	tell(event: ScaleEvent, also: () => void): void {
		this.#told = { row: this.#rowOf(event), also };
	}

	/** What was told and is not written yet. Where that fails it is tried again, before anything else is written. */
	write(): void {
		const told = this.#told;
		if (!told) return;
		this.#storage.transactionSync(() => {
			this.#insert(told.row);
			told.also();
		});
		this.#told = null;
	}

	/** The log is deleted: nothing is written to it any more. */
	drop(): void {
		this.#told = null;
	}

	#rowOf(event: LoggedEvent): Row {
		const { codes, ...shown } = event.type === "scale" ? event : { ...event, codes: null };
		const json = JSON.stringify(shown);
		const pieces = Math.ceil(json.length / PIECE_CHARS);
		return {
			n: this.length(),
			type: event.type,
			scale: event.type === "scale" ? event.index : null,
			codes,
			json,
			pieces,
		};
	}

	#insert({ n, type, scale, codes, json, pieces }: Row): void {
		const query = "INSERT INTO event (n, type, scale, codes, pieces) VALUES (?, ?, ?, ?, ?)";
		this.#sql(query, n, type, scale, codes, pieces);
		for (let i = 0; i < pieces; i++)
			this.#sql("INSERT INTO piece (n, i, json) VALUES (?, ?, ?)", n, i, pieceOf(json, i));
	}

	length(): number {
		return this.#exec<{ length: number }>("SELECT coalesce(max(n) + 1, 0) AS length FROM event")[0].length;
	}

	/** The first event after number `after`. */
	next(after: number): Entry | undefined {
		const told = this.#told?.row;
		if (told && after >= told.n - 1) return after < told.n ? told : undefined;
		return this.#sql<Entry & Record<string, SqlValue>>(
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
		if (this.#told?.row.n === n) return pieceOf(this.#told.row.json, i);
		return this.#sql<{ json: string }>("SELECT json FROM piece WHERE n = ? AND i = ?", n, i)[0].json;
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
		this.write();
		return this.#sql<T>(query, ...bindings);
	}

	/** Of what is written alone. */
	#sql<T extends Record<string, SqlValue>>(query: string, ...bindings: SqlValue[]): T[] {
		return this.#storage.sql.exec<T>(query, ...bindings).toArray();
	}
}

const pieceOf = (json: string, i: number): string => json.slice(i * PIECE_CHARS, (i + 1) * PIECE_CHARS);
