/**
 * The pool's books, in SQLite: jobs that wait and jobs that workers hold. A job is in one of the two, at the place it
 * was first given.
 */

export interface QueueRow extends Record<string, SqlValue> {
	job: string;
	seq: number;
	digest: string;
	/** Of the worker that began it, and which that was; null while none has. */
	numerics: string | null;
	last: string | null;
	/** Since when no worker offers its model. */
	orphaned: number | null;
}
export interface LeaseRow extends Record<string, SqlValue> {
	job: string;
	seq: number;
	digest: string;
	numerics: string;
	session: string;
	worker: string;
	/** 0: the job has not answered yet with its lease. */
	attempt: number;
	granted: number;
}

export class Ledger {
	readonly #storage: DurableObjectState["storage"];

	constructor(storage: DurableObjectState["storage"]) {
		this.#storage = storage;
		storage.sql.exec(`
			CREATE TABLE IF NOT EXISTS queue (job TEXT PRIMARY KEY, seq INTEGER NOT NULL, digest TEXT NOT NULL,
				numerics TEXT, last TEXT, orphaned INTEGER);
			CREATE TABLE IF NOT EXISTS lease (job TEXT PRIMARY KEY, seq INTEGER NOT NULL, digest TEXT NOT NULL,
				numerics TEXT NOT NULL, session TEXT NOT NULL, worker TEXT NOT NULL, attempt INTEGER NOT NULL,
				granted INTEGER NOT NULL);
		`);
	}

	/** Oldest job first. */
	queue(): QueueRow[] {
		return this.#sql<QueueRow>("SELECT * FROM queue ORDER BY seq");
	}

	/** All, or those of a worker's session. */
	leases(session?: string): LeaseRow[] {
		return session === undefined
			? this.#sql<LeaseRow>("SELECT * FROM lease")
			: this.#sql<LeaseRow>("SELECT * FROM lease WHERE session = ?", session);
	}

	lease(job: string): LeaseRow | undefined {
		return this.#sql<LeaseRow>("SELECT * FROM lease WHERE job = ?", job)[0];
	}

	/** A new job, at the end. */
	enqueue(job: string, digest: string): void {
		const { seq } = this.#sql<{ seq: number }>(
			"SELECT max(coalesce((SELECT max(seq) FROM queue), 0), coalesce((SELECT max(seq) FROM lease), 0)) + 1 AS seq",
		)[0];
		this.#sql("INSERT OR IGNORE INTO queue (job, seq, digest) VALUES (?, ?, ?)", job, seq, digest);
	}

	unqueue(job: string): void {
		this.#sql("DELETE FROM queue WHERE job = ?", job);
	}

	/** From the queue to a worker, as attempt 0. */
	grant(
		{ job, seq, digest }: QueueRow,
		{ session, worker, numerics }: Pick<LeaseRow, "session" | "worker" | "numerics">,
	): void {
		this.#storage.transactionSync(() => {
			this.unqueue(job);
			this.#sql(
				"INSERT OR REPLACE INTO lease (job, seq, digest, numerics, session, worker, attempt, granted) " +
					"VALUES (?, ?, ?, ?, ?, ?, 0, ?)",
				job,
				seq,
				digest,
				numerics,
				session,
				worker,
				Date.now(),
			);
		});
	}

	/** The job has answered with its lease. */
	begin(job: string, attempt: number): void {
		this.#sql("UPDATE lease SET attempt = ?, granted = ? WHERE job = ?", attempt, Date.now(), job);
	}

	end(job: string): void {
		this.#sql("DELETE FROM lease WHERE job = ?", job);
	}

	/** Back to their old places in the queue. */
	requeue(leases: readonly LeaseRow[]): void {
		for (const { job, seq, digest, numerics, worker } of leases) {
			this.#storage.transactionSync(() => {
				this.end(job);
				this.#sql(
					"INSERT OR REPLACE INTO queue (job, seq, digest, numerics, last) VALUES (?, ?, ?, ?, ?)",
					job,
					seq,
					digest,
					numerics,
					worker,
				);
			});
		}
	}

	orphan(job: string, since: number | null): void {
		this.#sql("UPDATE queue SET orphaned = ? WHERE job = ?", since, job);
	}

	#sql<T extends Record<string, SqlValue>>(query: string, ...bindings: SqlValue[]): T[] {
		return this.#storage.sql.exec<T>(query, ...bindings).toArray();
	}
}
