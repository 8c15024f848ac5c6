/**
 * One picture being made: its request, the attempt number as a fence, and its event log. Readers follow the log at
 * their own pace; workers append to it over HTTP. A job that nobody reads is stopped, an attempt of which nothing comes
 * is given to another worker.
 */
import { DurableObject } from "cloudflare:workers";
import { needsOf } from "../../protocol/capabilities.ts";
import type { ErrorEvent, FinalEvent, ScaleEvent, WorkerEvent } from "../../protocol/job.ts";
import type { Lease } from "../../protocol/messages.ts";
import type { ModelInfo } from "../../protocol/model-info.ts";
import { Alarm } from "../alarm.ts";
import { signingSecret } from "../auth/secret.ts";
import { signToken } from "../auth/token.ts";
import { log, logError } from "../log.ts";
import {
	accountNamed,
	type JobFacts,
	type JobObject,
	type KeptTrunk,
	type NewJob,
	type Outcome,
	type Owner,
	poolNamed,
} from "../objects.ts";
import { type Env, settingsOf } from "../settings.ts";
import { plannedAnew } from "../start.ts";
import { wholeSize } from "./checks.ts";
import { picturesClaim } from "./found.ts";
import { type LoggedEvent, type LoggedFinal, withPicture } from "./kept-picture.ts";
import { OWNER_HEADER, Readers } from "./readers.ts";
import { deletionOf, type JobRecord, MIXED } from "./record.ts";
import { JobState } from "./state.ts";
import { type Answer, settled, take } from "./take.ts";
import { Watch } from "./watch.ts";

/** A picture that could not be deleted is tried again after this long. */
const DELETE_AGAIN_MS = 10_000;

/** A timer comes after all that can go on without waiting: what was told has left this process. */
const allOnItsWay = () => new Promise<void>((resolve) => setTimeout(resolve, 0));

const notNoted = (job: string) => (error: unknown) => logError("picture not noted", { job, message: String(error) });

export class Job extends DurableObject<Env> implements JobObject {
	readonly #state: JobState;
	readonly #readers: Readers;
	readonly #alarm: Alarm;
	readonly #watch: Watch;

	constructor(ctx: DurableObjectState, env: Env) {
		super(ctx, env);
		this.#state = new JobState(ctx, env);
		this.#alarm = new Alarm(ctx);
		this.#readers = new Readers(
			this.#state.log,
			() => this.#state.ended(),
			() => this.#watch.set(),
			settingsOf(env).COMMENT_SECONDS * 1000,
		);
		const ends = { end: (event: ErrorEvent) => this.#endAndCancel(event), forget: () => this.#forget() };
		this.#watch = new Watch(this.#state, this.#readers, this.#alarm, env, ends);
	}

	/** Starts the log with the `plan` event. The caller queues the job in its pool. */
	async create({ trunk, ...job }: NewJob): Promise<void> {
		this.#state.begin(job, trunk?.madeUnder ?? null);
		this.#append(this.#state.planEvent());
		for (const scale of trunk?.scales ?? []) this.#append(scale);
		this.#readers.awaitAgain();
		this.#watch.set();
	}

	/**
	 * Starts and ends it with what a finished job has in its log; false where that one is not there any more.
	 */
	async copy({ trunk: _, ...job }: NewJob, finished: string): Promise<boolean> {
		const events = await this.env.JOB.get(this.env.JOB.idFromString(finished)).whole();
		const last = events?.at(-1);
		const final = last?.type === "final" ? await withPicture(this.env, finished, last) : null;
		if (!events || !final) return false;
		this.#state.begin({ ...job, event: { ...job.event, cached: true } }, final.numerics);
		// Where it dies before its end nobody else may know of it. No sooner: nobody reads it yet.
		this.#alarm.by(this.#state.record!.deadline);
		this.#append(this.#state.planEvent());
		for (const each of events) {
			if (each.type === "revision") this.#state.save(settled(this.#state.record!, each, Date.now()));
			if (each.type === "revision" || each.type === "scale") this.#append(each);
		}
		await this.#finish(0, final);
		return true;
	}

	/** All of its log, where it is done; else null. */
	async whole(): Promise<LoggedEvent[] | null> {
		return this.#state.outcome() === "done" && this.#state.record ? this.#state.log.all() : null;
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
		if (!this.#state.knownTo(request.headers.get(OWNER_HEADER))) return new Response(null, { status: 404 });
		return new Response(this.#readers.stream(Number(new URL(request.url).pathname.slice(1)), request.signal));
	}

	/** Whether everything was seen by whoever saw event `after`; null when the job is unknown, or its log was deleted. */
	async seen(owner: Owner, after: number): Promise<boolean | null> {
		return this.#state.knownTo(owner) ? this.#state.ended() && after + 1 >= this.#state.log.length() : null;
	}

	/** JSON of the final event, as it is logged; null where there is none, or the log was deleted. */
	async final(): Promise<string | null> {
		if (!this.#state.record) return null;
		const { type, json } = this.#state.log.last();
		return type === "final" ? json : null;
	}

	/** The next attempt, with the codes of the scales logged so far; null when nothing is left to do. */
	async lease(numerics: string): Promise<Lease | null> {
		const job = this.#state.record;
		if (!job || job.ended !== null) return null;
		const attempt = job.attempt + 1;
		this.#state.save({ ...job, attempt, numerics, sign: { at: Date.now(), scales: 0 } });
		this.#watch.set();
		return {
			type: "lease",
			job: this.#state.id,
			attempt,
			token: await signToken(signingSecret(this.env), this.#state.id, attempt),
			deliver: `/internal/jobs/${this.#state.id}/events`,
			request: job.request,
			codes: this.#state.log.codes(),
			madeUnder: job.madeUnder,
			pace: job.pace,
			traceparent: job.traceparent,
			requestId: job.requestId,
		};
	}

	/** How it ended; a forgotten one counts as cancelled. Null while something is left to do. */
	outcome(): Outcome | null {
		return this.#state.outcome();
	}

	/** The same; and what this attempt delivers from now on is refused. */
	async disown(attempt: number): Promise<Outcome | null> {
		const job = this.#held(attempt);
		if (job) this.#state.save({ ...job, attempt: attempt + 1, sign: null });
		return this.outcome();
	}

	/** Null where there is no such job, or none any more. */
	ended(): boolean | null {
		return this.#state.record ? this.#state.ended() : null;
	}

	/** What its resource shows; null when the job is unknown. */
	async facts(owner: Owner): Promise<JobFacts | null> {
		return this.#state.knownTo(owner) ? this.#state.facts() : null;
	}

	/**
	 * Appends what a worker made as `attempt`, which the caller has verified. A scale that is logged already is not
	 * logged twice. Answers when it is on disk, as the runtime does by itself with all that leaves after a write; readers
	 * have a scale before that.
	 */
	async deliver(attempt: number, event: WorkerEvent): Promise<Answer> {
		const job = this.#held(attempt);
		if (!job) return { go: "stop" };
		const taken = take(job, event, this.#state.log.lastScale(), Date.now());
		if (taken.record && taken.event?.type === "scale") {
			await this.#tell(taken.record, taken.event);
			return this.#held(attempt) ? taken.answer : { go: "stop" };
		}
		if (taken.record) this.#state.save(taken.record);
		if (taken.event?.type === "final") await this.#finish(attempt, taken.event);
		else if (taken.event?.type === "error") this.#end(taken.event);
		else if (taken.event) this.#append(taken.event);
		return taken.answer;
	}

	/** The job, where this attempt is the one that makes it. */
	#held(attempt: number): JobRecord | undefined {
		const { record } = this.#state;
		return record?.ended === null && record.attempt === attempt ? record : undefined;
	}

	/** Writing takes the disk's time, in which nothing leaves: whoever reads is told first. */
	async #tell(job: JobRecord, scale: ScaleEvent): Promise<void> {
		this.#state.tell(job, scale);
		if (this.#readers.absentSince === null) {
			this.#readers.wake();
			await allOnItsWay();
		}
		this.#state.log.write();
	}

	/** Ends it with its picture, which is found again from then on, unless it has ended or gone on meanwhile. */
	async #finish(attempt: number, event: FinalEvent): Promise<void> {
		const wanted = () => this.#held(attempt) !== undefined;
		await this.#state.picture.keep(event, wanted, (final) => this.#end(final));
		if (this.#state.outcome() !== "done" || !this.#state.record) return;
		const claim = await this.#claim();
		const { ended } = this.#state.record ?? {};
		if (ended)
			await claim
				?.keep(this.#state.id, deletionOf(this.#state.record!, ended, settingsOf(this.env)))
				.catch(notNoted(this.#state.id));
	}

	/** Where this picture is found again; null for one that is not. */
	async #claim() {
		const { owner, findable, request, asked = request.plan, madeUnder } = this.#state.record!;
		if (!findable || request.trunk || madeUnder === null || madeUnder === MIXED) return null;
		return picturesClaim(this.env, owner, { ...request, plan: asked }, madeUnder);
	}

	/**
	 * Plans the job for another version of its model, and refuses what a worker of this one may still deliver; null once
	 * a scale was made, or where there is no such plan.
	 */
	async replan(model: ModelInfo): Promise<string[] | null> {
		const job = this.#state.record;
		if (!job || job.ended !== null || this.#state.log.lastScale() !== -1) return null;
		const plan = plannedAnew(model, job.request.plan);
		if (plan === null) return null;
		const request = { ...job.request, plan };
		const { width, height } = wholeSize(model, request);
		const event = { ...job.event, plan, grids: model.schedules[plan.schedule].grids, width, height };
		const attempt = job.attempt === 0 ? 0 : job.attempt + 1;
		this.#state.save({ ...job, attempt, sign: null, request, event, bitsPerToken: model.bitsPerToken });
		this.#append(this.#state.planEvent());
		return needsOf(request);
	}

	/** What another picture needs to go on from the first scales of this one; null when the job is unknown. */
	async trunk(owner: Owner, scales: number): Promise<KeptTrunk | null> {
		if (!this.#state.record || !this.#state.knownTo(owner)) return null;
		const { request, madeUnder } = this.#state.record;
		return { request, madeUnder, scales: this.#state.log.scales(scales) };
	}

	/** Nobody wants the picture any more: ended, and stopped where it runs. One that has ended is deleted. */
	async remove(owner: Owner): Promise<boolean> {
		// One that is forgotten cannot be told from another's, but where all are everybody's.
		if (!this.#state.knownTo(owner)) return this.#state.record === undefined && owner === null;
		if (this.#state.ended()) {
			const claim = this.#state.record && (await this.#claim());
			await this.#forget();
			await claim?.drop(this.#state.id);
		} else await this.#endAndCancel({ type: "error", code: "cancelled", message: "The picture was cancelled." });
		return true;
	}

	/** Ends the job with an error, unless it has ended. */
	async fail(code: string, message: string): Promise<void> {
		if (!this.#state.ended()) this.#end({ type: "error", code, message });
	}

	/** Looks at all that has its time. */
	override async alarm(): Promise<void> {
		this.#alarm.rang();
		await this.#watch.look();
	}

	async #endAndCancel(event: ErrorEvent): Promise<void> {
		const { pool } = this.#state.record!;
		this.#end(event);
		// Not awaited by the caller: the pool may be asking this very job for a lease.
		this.ctx.waitUntil(
			poolNamed(this.env, pool)
				.cancel(this.#state.id, event.code)
				.catch((error: unknown) => logError("cancel failed", { job: this.#state.id, message: String(error) })),
		);
	}

	#end(event: LoggedFinal | ErrorEvent): void {
		this.#state.end(event);
		this.#readers.wake();
		this.#watch.set();
		const { owner } = this.#state.record!;
		if (!owner) return;
		const told = accountNamed(this.env, owner).ended(this.#state.id);
		// Its account asks by itself where it wants the place.
		this.ctx.waitUntil(told.catch((error: unknown) => log("account not reached", { message: String(error) })));
	}

	async #forget(): Promise<void> {
		const forgotten = this.#state.forget();
		this.#readers.wake();
		const gone = await forgotten;
		this.#alarm.rang();
		if (!gone) this.#alarm.by(Date.now() + DELETE_AGAIN_MS);
	}

	#append(event: LoggedEvent): void {
		this.#state.append(event);
		this.#readers.wake();
	}
}
