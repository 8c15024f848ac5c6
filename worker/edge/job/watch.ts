/**
 * All of a job that has its time: its deadline, the absence of its readers, the silence of its worker, its webhook and
 * its deletion. Alarms may come twice, early or late.
 */
import type { ErrorEvent } from "../../protocol/job.ts";
import type { Alarm } from "../alarm.ts";
import { log, logError } from "../log.ts";
import { poolNamed } from "../objects.ts";
import { type Env, type Settings, settingsOf } from "../settings.ts";
import type { Readers } from "./readers.ts";
import { deadlineSeconds, deletionOf, type JobRecord, stallOf } from "./record.ts";
import type { JobState } from "./state.ts";
import { tell } from "./tell.ts";
import { answered, tried } from "./webhook.ts";

/** What is to be done with a job whose time has come. */
export interface Ends {
	/** With an error, and stopped where it runs. */
	end(event: ErrorEvent): Promise<void>;
	forget(): Promise<void>;
}

/** How long after its making a job is in its pool's books; longer than any request for it lasts. */
const PLACED_MS = 60_000;

/** When a job that no worker has had is to be in its pool's books. */
const placedBy = ({ attempt, created }: JobRecord): number =>
	attempt === 0 && created !== undefined ? created + PLACED_MS : Number.POSITIVE_INFINITY;

export class Watch {
	readonly #state: JobState;
	readonly #readers: Readers;
	readonly #alarm: Alarm;
	readonly #env: Env;
	readonly #settings: Settings;
	readonly #ends: Ends;

	constructor(state: JobState, readers: Readers, alarm: Alarm, env: Env, ends: Ends) {
		this.#state = state;
		this.#readers = readers;
		this.#alarm = alarm;
		this.#env = env;
		this.#settings = settingsOf(env);
		this.#ends = ends;
	}

	/** Rings at the next time to look. */
	set(): void {
		const job = this.#state.record;
		if (job) this.#alarm.by(job.ended === null ? this.#looksAt(job) : this.#endsAt(job, job.ended));
	}

	/** Looks at everything. */
	async look(): Promise<void> {
		const job = this.#state.record;
		if (!job) return this.#ends.forget();
		const now = Date.now();
		if (job.ended !== null) {
			if (now >= deletionOf(job, job.ended, this.#settings)) return this.#ends.forget();
			await this.#tell(now);
		} else if (now >= job.deadline) {
			await this.#ends.end({
				type: "error",
				code: "deadline",
				message:
					`The picture was not finished within ${deadlineSeconds(job, this.#settings)} seconds. ` +
					"Try again, or with a faster policy.",
			});
		} else {
			await this.#lookForReaders(now);
			if (!this.#state.ended()) await this.#lookForSigns(now);
			if (!this.#state.ended()) await this.#lookForPlace(now);
		}
		this.set();
	}

	async #lookForReaders(now: number): Promise<void> {
		if (this.#state.record?.mode === "background") return;
		const since = this.#readers.absentSince;
		const grace = this.#settings.READER_GRACE_SECONDS * 1000;
		if (since === null || now < since + grace) return;
		// An alarm this late means that all is late here: those who would read may be on their way.
		if (now >= since + 2 * grace) return this.#readers.awaitAgain();
		await this.#ends.end({
			type: "error",
			code: "abandoned",
			message: "Nobody was reading any more, so the picture was not finished. Ask for it again.",
		});
	}

	async #lookForSigns(now: number): Promise<void> {
		const job = this.#state.record!;
		const { attempt, pool, sign } = job;
		if (sign === null || now < this.#stall(job)) return;
		let next: JobRecord["sign"] = null;
		try {
			await poolNamed(this.#env, pool).stalled(this.#state.id, attempt);
		} catch (error) {
			logError("pool not reached", { job: this.#state.id, message: String(error) });
			next = { ...sign, at: now };
		}
		// By the answer another worker may have it.
		const { record } = this.#state;
		if (record?.attempt === attempt) this.#state.save({ ...record, sign: next });
	}

	/** Whoever was to queue it may be gone before that: then nobody has it, and it would hold its key's place. */
	async #lookForPlace(now: number): Promise<void> {
		const job = this.#state.record!;
		if (now < placedBy(job)) return;
		try {
			if (await poolNamed(this.#env, job.pool).standing(this.#state.id)) return;
		} catch (error) {
			logError("pool not reached", { job: this.#state.id, message: String(error) });
			return;
		}
		if (this.#state.record?.attempt !== 0 || this.#state.ended()) return;
		const message = "The picture was not queued: the edge ended before that. Ask for it again.";
		await this.#ends.end({ type: "error", code: "not_queued", message });
	}

	/** The webhook, where it has its time. What is not taken is tried again, until the job is deleted. */
	async #tell(now: number): Promise<void> {
		const job = this.#state.record!;
		const { hook, base = "", ended } = job;
		if (!hook || hook.next === null || now < hook.next) return;
		const first = this.#settings.WEBHOOK_RETRY_SECONDS * 1000;
		this.#state.save({ ...job, hook: tried(hook, now, first) });
		const facts = this.#state.facts();
		if (!facts || ended === null) return;
		const answer = await tell(this.#env, hook, { base, facts, ended });
		const { record } = this.#state;
		if (!record?.hook) return;
		const after = answered(record.hook, answer, Date.now(), first);
		this.#state.save({ ...record, hook: after });
		log("webhook", { job: this.#state.id, answer, tries: after.tries });
	}

	/** Of one that has ended: the next try of its webhook, or its deletion. */
	#endsAt(job: JobRecord, ended: number): number {
		return Math.min(deletionOf(job, ended, this.#settings), job.hook?.next ?? Number.POSITIVE_INFINITY);
	}

	#looksAt(job: JobRecord): number {
		const absent = job.mode === "background" ? null : this.#readers.absentSince;
		const leaves = absent === null ? Number.POSITIVE_INFINITY : absent + this.#settings.READER_GRACE_SECONDS * 1000;
		const placed = placedBy(job);
		// Asked once, unless something else has its time.
		return Math.min(job.deadline, leaves, this.#stall(job), placed > Date.now() ? placed : Number.POSITIVE_INFINITY);
	}

	#stall(job: JobRecord): number {
		return stallOf(job, this.#state.log.lastScale(), this.#settings.STALL_SECONDS * 1000);
	}
}
