/** What a job is: its record, its log and its picture. In memory and in storage; the record is written here alone. */
import type { PlanEvent, ScaleEvent } from "../../protocol/job.ts";
import type { JobFacts, NewJob, Outcome, Owner } from "../objects.ts";
import { type Env, type Settings, settingsOf } from "../settings.ts";
import { factsOf, outcomeOf } from "./facts.ts";
import { KeptPicture, type LoggedEvent } from "./kept-picture.ts";
import { JobLog } from "./log.ts";
import { awaitedScale, deadlineSeconds, deletionOf, type JobRecord, RECORD_VERSION } from "./record.ts";
import { newHook } from "./webhook.ts";

export class JobState {
	readonly id: string;
	readonly log: JobLog;
	readonly picture: KeptPicture;
	readonly #storage: DurableObjectState["storage"];
	readonly #settings: Settings;
	#record: JobRecord | undefined;
	/**
	 * Whether readers may have been told of a scale, under the number that comes next, that the log does not have: memory
	 * was lost in the midst of an attempt.
	 */
	#doubtful: boolean;

	constructor(ctx: DurableObjectState, env: Env) {
		this.id = ctx.id.toString();
		this.#storage = ctx.storage;
		this.#settings = settingsOf(env);
		const stored = ctx.storage.kv.get<JobRecord>("job");
		this.#record = stored?.version === RECORD_VERSION ? stored : undefined;
		this.#doubtful = this.#record?.ended === null && this.#record.attempt > 0;
		this.log = new JobLog(ctx.storage);
		this.picture = new KeptPicture(env, ctx);
	}

	/** Undefined where there is none, or none any more. */
	get record(): JobRecord | undefined {
		return this.#record;
	}

	/** Nobody else's job can be told from none. */
	knownTo(owner: Owner): boolean {
		return this.#record !== undefined && (this.#record.owner ?? null) === owner;
	}

	/** Whether nothing is left to do: finished, failed, or forgotten. */
	ended(): boolean {
		return this.#record === undefined || this.#record.ended !== null;
	}

	/** How it ended; a forgotten one counts as cancelled. Null while something is left to do. */
	outcome(): Outcome | null {
		if (!this.#record) return "cancelled";
		return this.#record.ended === null ? null : outcomeOf(this.log.last());
	}

	/** What its resource shows; null where there is none. */
	facts(): JobFacts | null {
		const job = this.#record;
		if (!job) return null;
		const last = job.ended === null ? null : this.log.last();
		const expires = job.ended === null ? job.deadline : deletionOf(job, job.ended, this.#settings);
		return factsOf(this.id, job, { made: this.log.made(), last, expires });
	}

	/** An empty log, and nothing made. Throws where there is a job already. */
	begin({ webhook, ...job }: Omit<NewJob, "trunk">, madeUnder: string | null): void {
		if (this.#record) throw new Error("this job exists already");
		const created = Date.now();
		this.log.begin();
		this.save({
			...job,
			version: RECORD_VERSION,
			attempt: 0,
			numerics: "",
			madeUnder,
			pace: null,
			sign: null,
			created,
			deadline: created + deadlineSeconds(job, this.#settings) * 1000,
			ended: null,
			...(webhook && { hook: newHook(webhook) }),
		});
	}

	save(job: JobRecord): void {
		this.log.write();
		this.#record = job;
		this.#put();
	}

	#put(): void {
		this.#storage.kv.put("job", this.#record);
	}

	/** A scale, and the job as it is with it: for readers at once; written together, by `log.write` at the latest. */
	tell(job: JobRecord, scale: ScaleEvent): void {
		this.log.tell(scale, () => this.#put());
		this.#record = job;
		this.#doubtful = false;
	}

	/**
	 * At the end of the log. Under a number that a reader may know as a scale's only that scale comes again: before
	 * anything else the plan is repeated there.
	 */
	append(event: LoggedEvent): void {
		if (this.#doubtful && event.type !== "scale" && awaitedScale(this.#record!, this.log.lastScale()) !== -1)
			this.log.append(this.planEvent());
		this.#doubtful = false;
		this.log.append(event);
	}

	/** The plan as it is by now. */
	planEvent(): PlanEvent {
		const { event, request } = this.#record!;
		return { type: "plan", job: this.id, ...event, plan: request.plan };
	}

	/** The last event of all; its webhook has its time now. */
	end(event: LoggedEvent): void {
		const now = Date.now();
		const { hook, ...job } = this.#record!;
		this.save({ ...job, ended: now, ...(hook && { hook: { ...hook, next: now } }) });
		this.append(event);
	}

	/** Nothing of it is left but, where that could not be deleted, its picture: then it is false. */
	async forget(): Promise<boolean> {
		this.#record = undefined;
		this.log.drop();
		const gone = await this.picture.drop();
		await this.#storage.deleteAlarm();
		const deleted = this.#storage.deleteAll();
		if (!gone) this.picture.note();
		await deleted;
		return gone;
	}
}
