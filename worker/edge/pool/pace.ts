/** How fast workers are: milliseconds that a unit of cost took, by worker and model, from lease to release. */

/** How much the newest picture counts: others on the same device, and what was replayed, make single ones uncertain. */
const NEWEST = 0.25;
/** Of a worker that has not been there for so long, nothing is remembered. */
const KEPT_MS = 7 * 86_400_000;

export class Paces {
	readonly #sql: SqlStorage;
	readonly #paces = new Map<string, number>();

	constructor(sql: SqlStorage) {
		this.#sql = sql;
		sql.exec(`CREATE TABLE IF NOT EXISTS pace (worker TEXT NOT NULL, digest TEXT NOT NULL, milliseconds REAL NOT NULL,
			at INTEGER NOT NULL, PRIMARY KEY (worker, digest))`);
		sql.exec("DELETE FROM pace WHERE at < ?", Date.now() - KEPT_MS);
		for (const { worker, digest, milliseconds } of sql
			.exec<{ worker: string; digest: string; milliseconds: number }>("SELECT worker, digest, milliseconds FROM pace")
			.toArray())
			this.#paces.set(keyOf(worker, digest), milliseconds);
	}

	/** A picture of this cost was made from end to end. */
	note(worker: string, digest: string, milliseconds: number, cost: number): void {
		if (cost <= 0) return;
		const before = this.of(worker, digest);
		const now = milliseconds / cost;
		const pace = before === null ? now : before + NEWEST * (now - before);
		this.#paces.set(keyOf(worker, digest), pace);
		this.#sql.exec(
			"INSERT OR REPLACE INTO pace (worker, digest, milliseconds, at) VALUES (?, ?, ?, ?)",
			worker,
			digest,
			pace,
			Date.now(),
		);
	}

	/** Null where nothing was measured. */
	of(worker: string, digest: string): number | null {
		return this.#paces.get(keyOf(worker, digest)) ?? null;
	}

	/** The mean of those that were measured; null where none was. */
	among(workers: readonly string[], digest: string): number | null {
		const known = workers.flatMap((worker) => this.of(worker, digest) ?? []);
		return known.length === 0 ? null : known.reduce((sum, pace) => sum + pace, 0) / known.length;
	}
}

const keyOf = (worker: string, digest: string): string => `${digest} ${worker}`;
