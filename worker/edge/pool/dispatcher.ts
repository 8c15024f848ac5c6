/** Gives waiting jobs to workers, and takes back what comes from them unfinished. */
import type { Lease } from "../../protocol/messages.ts";
import type { Alarm } from "../alarm.ts";
import { log, notReached } from "../log.ts";
import type { Outcome } from "../objects.ts";
import { type Env, type Settings, settingsOf } from "../settings.ts";
import { FreeSlots } from "./choose.ts";
import type { Cause, Entry, Ledger, Lent } from "./ledger.ts";
import type { Member, Roster } from "./roster.ts";
import { beats } from "./shared.ts";
import type { Books } from "./standing.ts";
import { Tally } from "./tally.ts";

/** A worker that has to stop is no fault of the job, but there is an end to everything. */
const MOST_PREEMPTIONS = 20;

export class Dispatcher {
	readonly tally = new Tally();
	readonly #ledger: Ledger;
	readonly #roster: Roster;
	readonly #paces: Books["paces"];
	readonly #alarm: Alarm;
	readonly #env: Env;
	readonly #settings: Settings;
	readonly #free = new FreeSlots();
	/** Goes on with something that nobody waits for. */
	readonly #later: (work: Promise<unknown>) => void;

	constructor({ ledger, roster, paces }: Books, alarm: Alarm, env: Env, later: (work: Promise<unknown>) => void) {
		this.#ledger = ledger;
		this.#roster = roster;
		this.#paces = paces;
		this.#alarm = alarm;
		this.#env = env;
		this.#settings = settingsOf(env);
		this.#later = later;
	}

	/**
	 * A worker has let go of a job, or is gone. It may have finished it before it could say so: that one keeps nobody
	 * waiting; any other goes on elsewhere. How it ended, by this lease; null where it did not. `disowned`: what still
	 * comes of the lease is refused.
	 */
	async lost(entry: Lent, cause: Cause, disowned = false): Promise<Outcome | null> {
		const { session, worker, granted } = entry.held;
		const { job, attempt } = entry;
		const taken = Date.now() - granted;
		const outcome = await this.#outcome(job, disowned ? attempt : undefined);
		if (entry.held?.session !== session || entry.attempt !== attempt || this.#ledger.get(job) !== entry) return null;
		// What others had begun says nothing of this worker.
		if (outcome === "done" && attempt === 1) this.#paces.note(worker, entry.digest, taken, entry.cost);
		if (outcome !== null) this.#ledger.end(job);
		else this.takeBack(entry, cause);
		this.dispatch(entry.digest);
		return outcome;
	}

	/** Back into the queue, for a pause at least, or to its end when it has come back too often. */
	takeBack(entry: Entry, cause: Cause | null, pauseMs = 0): void {
		if (cause !== null) {
			log("lease lost", { job: entry.job, attempt: entry.attempt, worker: entry.held?.worker, cause });
			this.tally.count("firstlight_leases_lost_total", { cause });
		}
		this.#ledger.requeue(entry, cause, pauseMs);
		if (this.exhausted(entry)) this.#later(this.fail(entry));
		else if (entry.notBefore > Date.now()) this.#alarm.by(entry.notBefore);
	}

	exhausted({ lost: { failed, stalled, preempted } }: Entry): boolean {
		return failed + stalled >= this.#settings.MAX_ATTEMPTS || preempted >= MOST_PREEMPTIONS;
	}

	async fail({ job, lost }: Entry): Promise<void> {
		const times = lost.failed + lost.stalled + lost.preempted;
		try {
			await this.#job(job).fail(
				"worker_lost",
				`The picture was begun ${times} times and no worker finished it. Try again.`,
			);
			this.#ledger.end(job);
		} catch (error) {
			// Tried again at the next alarm.
			notReached(job, error);
		}
	}

	/** Gives waiting jobs of a model to the best workers, in turn. */
	dispatch(digest: string): void {
		this.#count();
		if (!this.#free.has(digest)) return;
		const now = Date.now();
		const patience = this.#settings.NUMERICS_SECONDS * 1000;
		for (const entry of [...this.#ledger.waiting(digest)]) {
			if (this.exhausted(entry) || this.#ledger.moving.has(entry.job)) continue;
			if (entry.notBefore > now) {
				this.#alarm.by(entry.notBefore);
				continue;
			}
			this.#count();
			const chosen = this.#free.choose(entry, { now, patience });
			if (chosen === null) {
				if (!this.#free.has(digest)) return;
				continue;
			}
			if (typeof chosen === "number") this.#alarm.by(chosen);
			else this.#later(this.#grant(entry, chosen));
		}
	}

	/** The same for all that this worker can take: it has a free slot. */
	fill({ offers }: Member): void {
		for (const digest of offers.keys()) this.dispatch(digest);
	}

	/** Free slots of workers that can do what is needed of a model. */
	free(digest: string, needs: readonly string[]): number {
		this.#count();
		return this.#free.of(digest, needs);
	}

	busy({ seat }: Member): number {
		return this.#ledger.heldBy(seat.session).size + seat.stale.length;
	}

	/** Slots for new leases. One stuck picture says that the device is. */
	slotsOf(member: Member): number {
		const { draining, stale } = member.seat;
		return draining || stale.some(({ stuck }) => stuck) ? 0 : member.hello.slots - this.busy(member);
	}

	/** Counts free slots again of those who came, went, or have more or less in hand. */
	#count(): void {
		for (const touched of [this.#roster.touched, this.#ledger.touched]) {
			for (const session of touched) {
				const member = this.#roster.member(session);
				if (member) this.#free.put(member, this.slotsOf(member));
				else this.#free.remove(session);
			}
			touched.clear();
		}
	}

	/** Takes the slot at once, then asks the job for its lease; by the answer the worker or the reader may be gone. */
	async #grant(entry: Entry, member: Member): Promise<void> {
		const { seat, socket, hello, offers } = member;
		const { session } = seat;
		const { job, digest } = entry;
		const { worker, instance } = hello;
		const numerics = offers.get(digest)!;
		this.#ledger.grant(entry, { session, worker, instance, numerics });
		const granted = () => this.#ledger.get(job) === entry && entry.attempt === 0 && entry.held?.session === session;
		let lease: Lease | null;
		try {
			lease = await this.#job(job).lease(numerics);
		} catch (error) {
			notReached(job, error);
			if (!granted()) return;
			// It is tried again, and what waits behind it does not wait for that.
			this.takeBack(entry, null, beats(this.#settings, 1));
			this.fill(member);
			return;
		}
		if (!granted()) return;
		if (lease === null) {
			this.#ledger.end(job);
			this.fill(member);
			return;
		}
		this.#ledger.begin(job, lease.attempt);
		if (lease.attempt > 1) this.tally.count("firstlight_resumes_total");
		else this.tally.observe("firstlight_queue_wait_seconds", (Date.now() - entry.queued) / 1000);
		this.#roster.send(socket, lease);
	}

	async #outcome(job: string, disowned?: number): Promise<Outcome | null> {
		try {
			return await (disowned === undefined ? this.#job(job).outcome() : this.#job(job).disown(disowned));
		} catch (error) {
			notReached(job, error);
			return null;
		}
	}

	#job(job: string) {
		return this.#env.JOB.get(this.#env.JOB.idFromString(job));
	}
}
