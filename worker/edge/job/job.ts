/**
 * One picture being made: its request, the attempt number as a fence, and its event log. Readers follow the log at
 * their own pace; workers append to it over HTTP. A job that nobody reads is stopped, an attempt of which nothing comes
 * is given to another worker.
 */
import { DurableObject } from "cloudflare:workers";
import { needsOf } from "../../protocol/capabilities.ts";
import type { ErrorEvent, FinalEvent, WorkerEvent } from "../../protocol/job.ts";
import type { Lease } from "../../protocol/messages.ts";
import type { ModelInfo } from "../../protocol/model-info.ts";
import { Alarm } from "../alarm.ts";
import { signingSecret } from "../auth/secret.ts";
import { signToken } from "../auth/token.ts";
import { log, logError } from "../log.ts";
import {
	type JobFacts,
	type JobObject,
	type NewJob,
	type Outcome,
	type Owner,
	poolNamed,
	type TrunkOf,
} from "../objects.ts";
import { type Env, type Settings, settingsOf } from "../settings.ts";
import { plannedAnew } from "../start.ts";
import { factsOf, outcomeOf } from "./facts.ts";
import { picturesClaim } from "./found.ts";
import { KeptPicture, type LoggedEvent, type LoggedFinal, withPicture } from "./kept-picture.ts";
import { JobLog } from "./log.ts";
import { OWNER_HEADER, Readers } from "./readers.ts";
import { type JobRecord, MIXED, RECORD_VERSION, stallOf } from "./record.ts";
import { type Answer, settled, take } from "./take.ts";
import { tell } from "./tell.ts";
import { answered, newHook, tried } from "./webhook.ts";

/** A picture that could not be deleted is tried again after this long. */
const DELETE_AGAIN_MS = 10_000;

const notNoted = (job: string) => (error: unknown) => logError("picture not noted", { job, message: String(error) });

export class Job extends DurableObject<Env> implements JobObject {
	#job: JobRecord | undefined;
	#log: JobLog;
	#readers: Readers;
	#picture: KeptPicture;
	#alarm: Alarm;
	#settings: Settings;

	constructor(ctx: DurableObjectState, env: Env) {
		super(ctx, env);
		this.#settings = settingsOf(env);
		const stored = ctx.storage.kv.get<JobRecord>("job");
		this.#job = stored?.version === RECORD_VERSION ? stored : undefined;
		this.#log = new JobLog(ctx.storage);
		this.#picture = new KeptPicture(env, ctx);
		this.#alarm = new Alarm(ctx);
		this.#readers = new Readers(
			this.#log,
			() => this.#ended(),
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
		this.#begin(job, trunk?.madeUnder ?? null);
		this.#append({ type: "plan", job: this.#id, ...job.event });
		for (const scale of trunk?.scales ?? []) this.#append(scale);
		this.#readers.awaitAgain();
		this.#watch();
	}

	/**
	 * Starts and ends it with what a finished job has in its log; false where that one is not there any more.
	 */
	async copy({ trunk: _, ...job }: NewJob, finished: string): Promise<boolean> {
		const events = await this.env.JOB.get(this.env.JOB.idFromString(finished)).whole();
		const last = events?.at(-1);
		const final = last?.type === "final" ? await withPicture(this.env, finished, last) : null;
		if (!events || !final) return false;
		const event = { ...job.event, cached: true };
		this.#begin({ ...job, event }, final.numerics);
		this.#append({ type: "plan", job: this.#id, ...event });
		for (const each of events) {
			if (each.type === "revision") this.#save(settled(this.#job!, each, Date.now()));
			if (each.type === "revision" || each.type === "scale") this.#append(each);
		}
		await this.#finish(0, final);
		return true;
	}

	/** All of its log, where it is done; else null. */
	async whole(): Promise<LoggedEvent[] | null> {
		return this.outcome() === "done" && this.#job ? this.#log.all() : null;
	}

	#begin({ webhook, ...job }: Omit<NewJob, "trunk">, madeUnder: string | null): void {
		if (this.#job) throw new Error("this job exists already");
		const created = Date.now();
		const seconds = Math.max(this.#settings.JOB_DEADLINE_SECONDS, job.ttlSeconds ?? 0);
		this.#log.begin();
		this.#save({
			...job,
			version: RECORD_VERSION,
			attempt: 0,
			numerics: "",
			madeUnder,
			pace: null,
			sign: null,
			created,
			deadline: created + seconds * 1000,
			ended: null,
			...(webhook && { hook: newHook(webhook) }),
		});
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
		return this.#knownTo(owner) ? this.#ended() && after + 1 >= this.#log.length() : null;
	}

	/** JSON of the final event, as it is logged; null where there is none, or the log was deleted. */
	async final(): Promise<string | null> {
		if (!this.#job) return null;
		const { type, json } = this.#log.last();
		return type === "final" ? json : null;
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

	/** How it ended; a forgotten one counts as cancelled. Null while something is left to do. */
	outcome(): Outcome | null {
		if (!this.#job) return "cancelled";
		return this.#job.ended === null ? null : outcomeOf(this.#log.last());
	}

	/** What its resource shows; null when the job is unknown. */
	async facts(owner: Owner): Promise<JobFacts | null> {
		return this.#knownTo(owner) ? this.#facts() : null;
	}

	#facts(): JobFacts | null {
		const job = this.#job;
		if (!job) return null;
		const last = job.ended === null ? null : this.#log.last();
		const expires = job.ended === null ? job.deadline : this.#deletion(job, job.ended);
		return factsOf(this.#id, job, { made: this.#log.made(), last, expires });
	}

	/** Whether nothing is left to do: finished, failed, or forgotten. */
	#ended(): boolean {
		return this.#job === undefined || this.#job.ended !== null;
	}

	/**
	 * Appends what a worker made as `attempt`, which the caller has verified. A scale that is logged already is not
	 * logged twice.
	 */
	async deliver(attempt: number, event: WorkerEvent): Promise<Answer> {
		const job = this.#job;
		if (!job || job.ended !== null || job.attempt !== attempt) return { go: "stop" };
		const taken = take(job, event, this.#log.lastScale(), Date.now());
		if (taken.record) this.#save(taken.record);
		if (taken.event?.type === "final") await this.#finish(attempt, taken.event);
		else if (taken.event?.type === "error") this.#end(taken.event);
		else if (taken.event) this.#append(taken.event);
		return taken.answer;
	}

	/** Ends it with its picture, which is found again from then on, unless it has ended or gone on meanwhile. */
	async #finish(attempt: number, event: FinalEvent): Promise<void> {
		const wanted = () => !this.#ended() && this.#job?.attempt === attempt;
		await this.#picture.keep(event, wanted, (final) => this.#end(final));
		if (this.outcome() !== "done" || !this.#job) return;
		const claim = await this.#claim();
		const { ended } = this.#job ?? {};
		if (ended) await claim?.keep(this.#id, this.#deletion(this.#job!, ended)).catch(notNoted(this.#id));
	}

	/** Where this picture is found again; null for one that is not. */
	async #claim() {
		const { owner, findable, request, asked = request.plan, madeUnder } = this.#job!;
		if (!findable || request.trunk || madeUnder === null || madeUnder === MIXED) return null;
		return picturesClaim(this.env, owner, { ...request, plan: asked }, madeUnder);
	}

	/** Plans the job for another version of its model; null once a scale was made, or where there is no such plan. */
	async replan(model: ModelInfo): Promise<string[] | null> {
		const job = this.#job;
		if (!job || job.ended !== null || this.#log.lastScale() !== -1) return null;
		const plan = plannedAnew(model, job.request.plan);
		if (plan === null) return null;
		const { grids, image } = model.schedules[plan.schedule];
		const { width, height } = job.request.format.size ?? image;
		const event = { ...job.event, plan, grids, width, height };
		this.#save({ ...job, request: { ...job.request, plan }, event, bitsPerToken: model.bitsPerToken });
		this.#append({ type: "plan", job: this.#id, ...event });
		return needsOf({ ...job.request, plan });
	}

	/** What another picture needs to go on from the first scales of this one; null when the job is unknown. */
	async trunk(owner: Owner, scales: number): Promise<TrunkOf | null> {
		if (!this.#job || !this.#knownTo(owner)) return null;
		const { request, madeUnder } = this.#job;
		return { request, madeUnder, scales: this.#log.scales(scales) };
	}

	/** Nobody wants the picture any more: ended, and stopped where it runs. One that has ended is deleted. */
	async remove(owner: Owner): Promise<boolean> {
		// One that is forgotten cannot be told from another's, but where all are everybody's.
		if (!this.#knownTo(owner)) return this.#job === undefined && owner === null;
		if (this.#ended()) {
			const claim = this.#job && (await this.#claim());
			await this.#forget();
			await claim?.drop(this.#id);
		} else await this.#endAndCancel({ type: "error", code: "cancelled", message: "The picture was cancelled." });
		return true;
	}

	/** Ends the job with an error, unless it has ended. */
	async fail(code: string, message: string): Promise<void> {
		if (!this.#ended()) this.#end({ type: "error", code, message });
	}

	/** Looks at all that has its time. Alarms may come twice, early or late. */
	override async alarm(): Promise<void> {
		this.#alarm.rang();
		const job = this.#job;
		if (!job) return this.#forget();
		const now = Date.now();
		if (job.ended !== null) {
			if (now >= this.#deletion(job, job.ended)) return this.#forget();
			await this.#tell(now);
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
			if (!this.#ended()) await this.#lookForSigns(now);
		}
		this.#watch();
	}

	async #lookForReaders(now: number): Promise<void> {
		if (this.#job?.mode === "background") return;
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

	#end(event: LoggedFinal | ErrorEvent): void {
		const now = Date.now();
		const { hook, ...job } = this.#job!;
		this.#save({ ...job, ended: now, ...(hook && { hook: { ...hook, next: now } }) });
		this.#append(event);
		this.#watch();
	}

	/** The webhook, where it has its time. What is not taken is tried again, until the job is deleted. */
	async #tell(now: number): Promise<void> {
		const { hook, base = "", ended } = this.#job!;
		if (!hook || hook.next === null || now < hook.next) return;
		const first = this.#settings.WEBHOOK_RETRY_SECONDS * 1000;
		this.#save({ ...this.#job!, hook: tried(hook, now, first) });
		const facts = this.#facts();
		if (!facts || ended === null) return;
		const answer = await tell(this.env, hook, { base, facts, ended });
		if (!this.#job?.hook) return;
		this.#save({ ...this.#job, hook: answered(this.#job.hook, answer, Date.now(), first) });
		log("webhook", { job: this.#id, answer, tries: this.#job.hook.tries });
	}

	async #forget(): Promise<void> {
		this.#job = undefined;
		this.#readers.wake();
		const gone = await this.#picture.drop();
		await this.ctx.storage.deleteAlarm();
		const deleted = this.ctx.storage.deleteAll();
		// All else goes, and the alarm tries the picture again.
		if (!gone) this.#picture.note();
		await deleted;
		this.#alarm.rang();
		if (!gone) this.#alarm.by(Date.now() + DELETE_AGAIN_MS);
	}

	#deletion({ ttlSeconds }: JobRecord, ended: number): number {
		return ended + (ttlSeconds ?? this.#settings.JOB_KEEP_SECONDS) * 1000;
	}

	/** The next time to look. */
	#watch(): void {
		const job = this.#job;
		if (!job) return;
		this.#alarm.by(job.ended === null ? this.#looksAt(job) : this.#endsAt(job, job.ended));
	}

	/** Of one that has ended: the next try of its webhook, or its deletion. */
	#endsAt(job: JobRecord, ended: number): number {
		return Math.min(this.#deletion(job, ended), job.hook?.next ?? Number.POSITIVE_INFINITY);
	}

	#looksAt(job: JobRecord): number {
		const absent = job.mode === "background" ? null : this.#readers.absentSince;
		const leaves = absent === null ? Number.POSITIVE_INFINITY : absent + this.#settings.READER_GRACE_SECONDS * 1000;
		return Math.min(job.deadline, leaves, this.#stall(job));
	}

	#stall(job: JobRecord): number {
		return stallOf(job, this.#log.lastScale(), this.#settings.STALL_SECONDS * 1000);
	}

	#save(job: JobRecord): void {
		this.#job = job;
		this.ctx.storage.kv.put("job", job);
	}

	#append(event: LoggedEvent): void {
		this.#log.append(event);
		this.#readers.wake();
	}
}
