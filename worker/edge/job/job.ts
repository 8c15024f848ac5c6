/**
 * One picture being made: its request, the attempt number as a fence, and its event log. Readers follow the log at
 * their own pace; workers append to it over HTTP. A job that nobody reads is stopped, an attempt of which nothing comes
 * is given to another worker.
 */

import { DurableObject } from "cloudflare:workers";
import type { ErrorEvent, FinalEvent, JobEvent, RevisionEvent, ScaleEvent, WorkerEvent } from "../../protocol/job.ts";
import type { DeliveryAnswer, Lease } from "../../protocol/messages.ts";
import type { ModelInfo } from "../../protocol/model-info.ts";
import { Alarm } from "../alarm.ts";
import { signingSecret } from "../auth/secret.ts";
import { signToken } from "../auth/token.ts";
import { logError } from "../log.ts";
import { type JobObject, type NewJob, type Owner, poolNamed, type TrunkOf } from "../objects.ts";
import { type Env, type Settings, settingsOf } from "../settings.ts";
import { plannedAnew } from "../start.ts";
import { finalProblem, revisionProblem, scaleProblem } from "./checks.ts";
import { JobLog } from "./log.ts";
import { OWNER_HEADER, Readers } from "./readers.ts";
import { type JobRecord, MIXED, nextScale, pictureOf, RECORD_VERSION, stallOf } from "./record.ts";

type Answer = DeliveryAnswer | { refused: string };

export class Job extends DurableObject<Env> implements JobObject {
	#job: JobRecord | undefined;
	#log: JobLog;
	#readers: Readers;
	#alarm: Alarm;
	#settings: Settings;

	constructor(ctx: DurableObjectState, env: Env) {
		super(ctx, env);
		this.#settings = settingsOf(env);
		const stored = ctx.storage.kv.get<JobRecord>("job");
		this.#job = stored?.version === RECORD_VERSION ? stored : undefined;
		this.#log = new JobLog(ctx.storage);
		this.#alarm = new Alarm(ctx);
		this.#readers = new Readers(
			this.#log,
			() => this.ended(),
			() => this.#watch(),
			this.#settings.COMMENT_SECONDS * 1000,
		);
	}

	/** Nobody else's job can be told from none. */
	#knownTo(owner: Owner): boolean {
		return this.#job !== undefined && (this.#job.owner ?? null) === owner;
	}

	get #id(): string {
		return this.ctx.id.toString();
	}

	/** Starts the log with the `plan` event. The caller queues the job in its pool. */
	async create({ trunk, ...job }: NewJob): Promise<void> {
		if (this.#job) throw new Error("this job exists already");
		this.#log.begin();
		this.#save({
			...job,
			version: RECORD_VERSION,
			attempt: 0,
			numerics: "",
			madeUnder: trunk?.madeUnder ?? null,
			pace: null,
			sign: null,
			deadline: Date.now() + this.#settings.JOB_DEADLINE_SECONDS * 1000,
			ended: null,
		});
		this.#append({ type: "plan", job: this.#id, ...job.event });
		for (const scale of trunk?.scales ?? []) this.#append(scale);
		this.#readers.awaitAgain();
		this.#watch();
	}

	/** Forgets a job that its pool refused. */
	async discard(): Promise<void> {
		await this.#forget();
	}

	/**
	 * Events after the number in the path as they come, to the end of the log (readers.ts). Whoever holds the stream is
	 * there. 404 when the job is unknown to who asks, or its log was deleted.
	 */
	override async fetch(request: Request): Promise<Response> {
		if (!this.#knownTo(request.headers.get(OWNER_HEADER))) return new Response(null, { status: 404 });
		return new Response(this.#readers.stream(Number(new URL(request.url).pathname.slice(1)), request.signal));
	}

	/** Whether everything was seen by whoever saw event `after`; null when the job is unknown, or its log was deleted. */
	async seen(owner: Owner, after: number): Promise<boolean | null> {
		return this.#knownTo(owner) ? this.ended() && after + 1 >= this.#log.length() : null;
	}

	/** JSON of the final event; null where there is none, or the log was deleted. */
	async final(): Promise<string | null> {
		return this.#job ? this.#log.final() : null;
	}

	/** The next attempt, with the codes of the scales logged so far; null when nothing is left to do. */
	async lease(numerics: string): Promise<Lease | null> {
		const job = this.#job;
		if (!job || job.ended !== null) return null;
		const attempt = job.attempt + 1;
		this.#save({ ...job, attempt, numerics, sign: { at: Date.now(), scales: 0 } });
		this.#watch();
		return {
			type: "lease",
			job: this.#id,
			attempt,
			token: await signToken(signingSecret(this.env), this.#id, attempt),
			deliver: `/internal/jobs/${this.#id}/events`,
			request: job.request,
			codes: this.#log.codes(),
			madeUnder: job.madeUnder,
			pace: job.pace,
			traceparent: job.traceparent,
			requestId: job.requestId,
		};
	}

	/** Whether nothing is left to do: finished, failed, or forgotten. */
	ended(): boolean {
		return this.#job === undefined || this.#job.ended !== null;
	}

	/**
	 * Appends what a worker made as `attempt`, which the caller has verified. A scale that is logged already is not
	 * logged twice.
	 */
	async deliver(attempt: number, event: WorkerEvent): Promise<Answer> {
		const job = this.#job;
		if (!job || job.ended !== null || job.attempt !== attempt) return { go: "stop" };
		switch (event.type) {
			case "error":
				this.#end(event);
				return { go: "stop" };
			case "revision":
				return this.#revise(job, event);
			case "scale":
				return this.#scale(job, event);
			case "final":
				return this.#final(job, event);
		}
	}

	#scale(job: JobRecord, event: ScaleEvent): Answer {
		const problem = scaleProblem(pictureOf(job), event);
		if (problem) return { refused: problem };
		const { plan } = job.request;
		const missing = nextScale(job, this.#log.lastScale());
		if (missing !== -1 && event.index > missing) return { refused: `scale ${event.index} before scale ${missing}` };
		if (plan.decide && event.index > plan.decide.after)
			return { refused: `scale ${event.index} before the plan is settled` };
		if (event.index === missing) {
			const now = Date.now();
			const { at, scales } = job.sign ?? { at: now, scales: 0 };
			this.#save({
				...job,
				// The first scale of an attempt brings the text, and what was replayed before it.
				pace: scales > 0 ? { scale: event.index, milliseconds: now - at } : job.pace,
				sign: { at: now, scales: scales + 1 },
				madeUnder: job.madeUnder === null || job.madeUnder === job.numerics ? job.numerics : MIXED,
			});
			this.#append(event);
		}
		return { go: "on" };
	}

	/** Settles the rest of the plan, once: a later attempt reads it. */
	#revise(job: JobRecord, event: RevisionEvent): Answer {
		const { plan } = job.request;
		const problem = revisionProblem(plan, event, this.#log.lastScale());
		if (problem) return { refused: problem };
		if (!plan.decide) return { go: "on" };
		this.#save({
			...job,
			request: { ...job.request, plan: event.plan },
			sign: { at: Date.now(), scales: job.sign?.scales ?? 0 },
		});
		this.#append(event);
		return { go: "on" };
	}

	#final(job: JobRecord, event: FinalEvent): Answer {
		const missing = nextScale(job, this.#log.lastScale());
		const problem = missing === -1 ? finalProblem(pictureOf(job), event) : `final before scale ${missing}`;
		if (problem) return { refused: problem };
		this.#end({ ...event, numerics: job.madeUnder === job.numerics ? event.numerics : MIXED });
		return { go: "stop" };
	}

	/** Plans the job for another version of its model; false once a scale was made, or where there is no such plan. */
	async replan(model: ModelInfo): Promise<boolean> {
		const job = this.#job;
		if (!job || job.ended !== null || this.#log.lastScale() !== -1) return false;
		const plan = plannedAnew(model, job.request.plan);
		if (plan === null) return false;
		const { grids, image } = model.schedules[plan.schedule];
		const { width, height } = job.request.format.size ?? image;
		const event = { ...job.event, plan, grids, width, height };
		this.#save({ ...job, request: { ...job.request, plan }, event, bitsPerToken: model.bitsPerToken });
		this.#append({ type: "plan", job: this.#id, ...event });
		return true;
	}

	/** What another picture needs to go on from the first scales of this one; null when the job is unknown. */
	async trunk(owner: Owner, scales: number): Promise<TrunkOf | null> {
		if (!this.#job || !this.#knownTo(owner)) return null;
		const { request, madeUnder } = this.#job;
		return { request, madeUnder, scales: this.#log.scales(scales) };
	}

	/** Nobody wants the picture any more: ended, and stopped where it runs. */
	async stop(owner: Owner): Promise<boolean> {
		// One that is forgotten cannot be told from another's, but where all are everybody's.
		if (!this.#knownTo(owner)) return this.#job === undefined && owner === null;
		if (!this.ended())
			await this.#endAndCancel({ type: "error", code: "cancelled", message: "The picture was cancelled." });
		return true;
	}

	/** Ends the job with an error, unless it has ended. */
	async fail(code: string, message: string): Promise<void> {
		if (!this.ended()) this.#end({ type: "error", code, message });
	}

	/** Looks at all that has its time. Alarms may come twice, early or late. */
	override async alarm(): Promise<void> {
		this.#alarm.rang();
		const job = this.#job;
		if (!job) return this.#forget();
		const now = Date.now();
		if (job.ended !== null) {
			if (now >= this.#deletion(job.ended)) return this.#forget();
		} else if (now >= job.deadline) {
			await this.#endAndCancel({
				type: "error",
				code: "deadline",
				message:
					`The picture was not finished within ${this.#settings.JOB_DEADLINE_SECONDS} seconds. ` +
					"Try again, or with a faster policy.",
			});
		} else {
			await this.#lookForReaders(now);
			if (!this.ended()) await this.#lookForSigns(now);
		}
		this.#watch();
	}

	async #lookForReaders(now: number): Promise<void> {
		const since = this.#readers.absentSince;
		const grace = this.#settings.READER_GRACE_SECONDS * 1000;
		if (since === null || now < since + grace) return;
		// An alarm this late means that all is late here: those who would read may be on their way.
		if (now >= since + 2 * grace) return this.#readers.awaitAgain();
		await this.#endAndCancel({
			type: "error",
			code: "abandoned",
			message: "Nobody was reading any more, so the picture was not finished. Ask for it again.",
		});
	}

	async #lookForSigns(now: number): Promise<void> {
		const { attempt, pool, sign } = this.#job!;
		if (sign === null || now < this.#stall(this.#job!)) return;
		let next: JobRecord["sign"] = null;
		try {
			await poolNamed(this.env, pool).stalled(this.#id, attempt);
		} catch (error) {
			logError("pool not reached", { job: this.#id, message: String(error) });
			next = { ...sign, at: now };
		}
		// By the answer another worker may have it.
		if (this.#job?.attempt === attempt) this.#save({ ...this.#job, sign: next });
	}

	async #endAndCancel(event: ErrorEvent): Promise<void> {
		const { pool } = this.#job!;
		this.#end(event);
		// Not awaited by the caller: the pool may be asking this very job for a lease.
		this.ctx.waitUntil(
			poolNamed(this.env, pool)
				.cancel(this.#id, event.code)
				.catch((error: unknown) => logError("cancel failed", { job: this.#id, message: String(error) })),
		);
	}

	#end(event: Extract<JobEvent, { type: "final" | "error" }>): void {
		this.#save({ ...this.#job!, ended: Date.now() });
		this.#append(event);
		this.#watch();
	}

	async #forget(): Promise<void> {
		this.#job = undefined;
		this.#readers.wake();
		await this.ctx.storage.deleteAlarm();
		await this.ctx.storage.deleteAll();
		this.#alarm.rang();
	}

	#deletion(ended: number): number {
		return ended + this.#settings.JOB_KEEP_SECONDS * 1000;
	}

	/** The next time to look. */
	#watch(): void {
		const job = this.#job;
		if (!job) return;
		const absent = this.#readers.absentSince;
		const leaves = absent === null ? Number.POSITIVE_INFINITY : absent + this.#settings.READER_GRACE_SECONDS * 1000;
		this.#alarm.by(job.ended === null ? Math.min(job.deadline, leaves, this.#stall(job)) : this.#deletion(job.ended));
	}

	#stall(job: JobRecord): number {
		return stallOf(job, this.#log.lastScale(), this.#settings.STALL_SECONDS * 1000);
	}

	#save(job: JobRecord): void {
		this.#job = job;
		this.ctx.storage.kv.put("job", job);
	}

	#append(event: JobEvent): void {
		this.#log.append(event);
		this.#readers.wake();
	}
}
