/**
 * The pool's books: jobs that wait and jobs that workers hold, each at the place it was first given. In memory, by
 * model and by worker, and in SQLite, from which they are read again on waking.
 */
import { z } from "zod";
import type { Owner } from "../objects.ts";
import { Turns } from "./turns.ts";

const RECORD_VERSION = 1;

/** Why a lease came back: its worker failed or was lost, was silent for too long, or had to stop. */
export type Cause = "failed" | "stalled" | "preempted";

const Held = z.object({
	session: z.string(),
	worker: z.string(),
	instance: z.string(),
	numerics: z.string(),
	/** When its lease was given. */
	granted: z.number(),
	/** When the worker was back with it and kept it; 0 where it never was away. */
	adopted: z.number().default(0),
	/** Since when its worker's connection is lost; null while it is there. */
	absent: z.number().nullable(),
});
const Row = z.object({
	version: z.literal(RECORD_VERSION),
	job: z.string(),
	seq: z.number(),
	/** Whose it is, what that weighs, and when its turn is (turns.ts). */
	owner: z.string().nullable().default(null),
	weight: z.number().positive().default(1),
	turn: z.number().default(0),
	/** When it was queued. */
	queued: z.number().default(0),
	digest: z.string(),
	/** What its worker must be able to do. */
	needs: z.array(z.string()).default([]),
	/** Name of the model, under which another version may be offered. */
	model: z.string(),
	/** What it costs to make (worker/policies/cost.ts); 0 where that is not known. */
	cost: z.number().default(0),
	/** Of the newest lease; 0 before the job has answered with one. */
	attempt: z.number(),
	/** Who holds it; null while it waits. */
	held: Held.nullable(),
	/** Numerics id and name of the worker that had it last, and when it was given that lease. */
	numerics: z.string().nullable(),
	last: z.string().nullable(),
	begun: z.number().nullable().default(null),
	/** How often it came back, by cause. */
	lost: z.object({ failed: z.number(), stalled: z.number(), preempted: z.number() }),
	/** When it came back last, and before when it is not tried again. */
	returned: z.number(),
	notBefore: z.number(),
	/** Since when no worker offers its model. */
	orphaned: z.number().nullable(),
});
type Row = z.infer<typeof Row>;

/** A job in the books. Read it as you like; only the ledger writes it. */
export type Entry = Readonly<Row>;
export type Lent = Entry & { readonly held: NonNullable<Entry["held"]> };

/** A job that came back is not tried again at once: the pauses double, up to this. */
const LONGEST_PAUSE_MS = 10_000;
const FIRST_PAUSE_MS = 200;

export class Ledger {
	readonly #sql: SqlStorage;
	readonly #entries = new Map<string, Row>();
	/** By digest, in turn. */
	readonly #waiting = new Map<string, Row[]>();
	readonly #held = new Map<string, Set<Row>>();
	/** Of those, the ones whose worker is missed, by its name. */
	readonly #missed = new Map<string, Set<Row>>();
	/** Sessions that hold more or less than when whoever counts them looked last; emptied there. */
	readonly touched = new Set<string>();
	/** Those that wait and are being planned anew: nobody gets them until that is known. */
	readonly moving = new Set<string>();
	/** How many of each owner's wait. */
	readonly #owned = new Map<Owner, number>();
	readonly #turns = new Turns();
	#queued = 0;
	#lastSeq = 0;

	constructor(sql: SqlStorage) {
		this.#sql = sql;
		// The second line: books of before records had a version.
		sql.exec(`
			CREATE TABLE IF NOT EXISTS book (job TEXT PRIMARY KEY, record TEXT NOT NULL);
			DROP TABLE IF EXISTS queue; DROP TABLE IF EXISTS lease;
		`);
		for (const { job, record } of sql.exec<{ job: string; record: string }>("SELECT job, record FROM book").toArray()) {
			const parsed = Row.safeParse(JSON.parse(record));
			if (parsed.success) {
				const { owner, weight, turn, held } = parsed.data;
				this.#turns.known(owner, weight, turn, held === null);
				this.#insert(parsed.data);
			} else sql.exec("DELETE FROM book WHERE job = ?", job);
		}
	}

	/** Jobs that wait. */
	get queued(): number {
		return this.#queued;
	}
	get size(): number {
		return this.#entries.size;
	}

	/** Models that jobs wait for. */
	digests(): string[] {
		return [...this.#waiting.keys()];
	}
	/** Jobs that wait for a model, in turn. */
	waiting(digest: string): readonly Entry[] {
		return this.#waiting.get(digest) ?? [];
	}
	/** Jobs that a session holds. */
	heldBy(session: string): ReadonlySet<Lent> {
		return (this.#held.get(session) ?? NOBODY) as ReadonlySet<Lent>;
	}
	/** All that are held. */
	held(): Lent[] {
		return [...this.#held.values()].flatMap((held) => [...held] as Lent[]);
	}
	/** Those that a worker held when its connection was lost. */
	missed(worker: string): Lent[] {
		return [...(this.#missed.get(worker) ?? NOBODY)] as Lent[];
	}
	/** How many of an owner's jobs wait. */
	waitingOf(owner: Owner): number {
		return this.#owned.get(owner) ?? 0;
	}
	get(job: string): Entry | undefined {
		return this.#entries.get(job);
	}
	/** The same where somebody holds it. */
	lent(job: string): Lent | undefined {
		const entry = this.#entries.get(job);
		return entry?.held ? (entry as Lent) : undefined;
	}

	/** New jobs, after those of their owner. */
	enqueue(
		jobs: readonly string[],
		{
			digest,
			model,
			cost,
			needs,
			owner,
			weight,
		}: Pick<Row, "digest" | "model" | "cost" | "needs" | "owner" | "weight">,
	): void {
		for (const job of jobs) {
			if (this.#entries.has(job)) continue;
			const entry: Row = {
				version: RECORD_VERSION,
				job,
				seq: this.#lastSeq + 1,
				owner,
				weight,
				turn: this.#turns.next(owner, weight),
				queued: Date.now(),
				digest,
				needs,
				model,
				cost,
				attempt: 0,
				held: null,
				numerics: null,
				last: null,
				begun: null,
				lost: { failed: 0, stalled: 0, preempted: 0 },
				returned: 0,
				notBefore: 0,
				orphaned: null,
			};
			this.#insert(entry);
			this.#save(entry);
		}
	}

	/** From the queue to a worker; the job has yet to answer with its lease. */
	grant({ job, turn }: Entry, to: { session: string; worker: string; instance: string; numerics: string }): void {
		this.#turns.given(turn);
		this.#change(job, (entry) => {
			entry.attempt = 0;
			entry.held = { ...to, granted: Date.now(), adopted: 0, absent: null };
		});
	}

	/** The job has answered. */
	begin(job: string, attempt: number): void {
		this.#change(job, (entry) => {
			entry.attempt = attempt;
		});
	}

	/** The worker's connection is lost. */
	miss({ job }: Entry, since: number): void {
		this.#change(job, ({ held }) => {
			if (held) held.absent ??= since;
		});
	}

	/** It is still in the hand of this worker, which is there again. */
	adopt({ job }: Entry, by: { session: string; worker: string; instance: string; numerics: string }): void {
		this.#change(job, (entry) => {
			const now = Date.now();
			entry.held = { ...by, granted: entry.held?.granted ?? entry.begun ?? now, adopted: now, absent: null };
		});
	}

	/** Back to its old place in the queue, for a pause at least; without a cause where no worker has begun it. */
	requeue({ job }: Entry, cause: Cause | null, pauseMs = 0): void {
		this.#change(job, (entry) => {
			if (!entry.held) return;
			const now = Date.now();
			const { numerics, worker, granted } = entry.held;
			[entry.numerics, entry.last, entry.begun, entry.held] = [numerics, worker, granted, null];
			[entry.returned, entry.notBefore, entry.orphaned] = [now, now + pauseMs, null];
			if (cause === null) return;
			entry.lost[cause] += 1;
			if (cause !== "preempted") {
				const times = entry.lost.failed + entry.lost.stalled;
				entry.notBefore += Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (times - 1));
			}
		});
	}

	/** Another version of its model will make it. */
	move({ job }: Entry, digest: string, needs: string[]): void {
		this.#change(job, (entry) => {
			[entry.digest, entry.needs, entry.numerics, entry.orphaned] = [digest, needs, null, null];
		});
	}

	orphan({ job }: Entry, since: number | null): void {
		this.#change(job, (entry) => {
			entry.orphaned = since;
		});
	}

	/** Nothing is left to do. */
	end(job: string): void {
		const entry = this.#entries.get(job);
		if (!entry) return;
		this.#remove(entry);
		if (entry.held === null) this.#turns.gone(entry.owner, entry.weight, entry.turn);
		this.#sql.exec("DELETE FROM book WHERE job = ?", job);
	}

	#change(job: string, change: (entry: Row) => void): void {
		const entry = this.#entries.get(job);
		if (!entry) return;
		this.#remove(entry);
		change(entry);
		this.#insert(entry);
		this.#save(entry);
	}

	#save(entry: Row): void {
		this.#sql.exec("INSERT OR REPLACE INTO book (job, record) VALUES (?, ?)", entry.job, JSON.stringify(entry));
	}

	#insert(entry: Row): void {
		this.#entries.set(entry.job, entry);
		this.#lastSeq = Math.max(this.#lastSeq, entry.seq);
		if (entry.held) {
			const { session, worker, absent } = entry.held;
			this.touched.add(session);
			addTo(this.#held, session, entry);
			if (absent !== null) addTo(this.#missed, worker, entry);
			return;
		}
		this.#queued += 1;
		this.#owned.set(entry.owner, this.waitingOf(entry.owner) + 1);
		const queue = this.#waiting.get(entry.digest);
		if (!queue) this.#waiting.set(entry.digest, [entry]);
		else queue.splice(place(queue, entry), 0, entry);
	}

	#remove(entry: Row): void {
		this.#entries.delete(entry.job);
		if (entry.held) {
			const { session, worker } = entry.held;
			this.touched.add(session);
			takeFrom(this.#held, session, entry);
			takeFrom(this.#missed, worker, entry);
			return;
		}
		this.#queued -= 1;
		const others = this.waitingOf(entry.owner) - 1;
		if (others === 0) this.#owned.delete(entry.owner);
		else this.#owned.set(entry.owner, others);
		const queue = this.#waiting.get(entry.digest);
		if (queue) queue.splice(place(queue, entry), 1);
		if (queue?.length === 0) this.#waiting.delete(entry.digest);
	}
}

const NOBODY: ReadonlySet<never> = new Set();

function addTo<T>(sets: Map<string, Set<T>>, key: string, value: T): void {
	const set = sets.get(key);
	if (set) set.add(value);
	else sets.set(key, new Set([value]));
}

function takeFrom<T>(sets: Map<string, Set<T>>, key: string, value: T): void {
	const set = sets.get(key);
	if (set?.delete(value) && set.size === 0) sets.delete(key);
}

/** Index of the first entry whose turn is not before this one's. */
function place(queue: readonly Entry[], { turn, seq }: Entry): number {
	let [from, to] = [0, queue.length];
	while (from < to) {
		const middle = (from + to) >> 1;
		const other = queue[middle];
		if (other.turn < turn || (other.turn === turn && other.seq < seq)) from = middle + 1;
		else to = middle;
	}
	return from;
}
