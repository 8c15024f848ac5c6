/**
 * One picture being made: its request, the attempt number as a fence, and its event log. Readers pull from the log at
 * their own pace; workers append to it over HTTP. A job that nobody reads is stopped.
 */
import { DurableObject } from "cloudflare:workers";
import type { ErrorEvent, JobEvent, JobRequest, RevisionEvent, ScaleEvent, WorkerEvent } from "../protocol/job.ts";
import type { DeliveryAnswer, Lease } from "../protocol/messages.ts";
import { StagePlan, settle } from "../protocol/plan.ts";
import { type JobObject, type LogPage, type LogRow, type NewJob, poolNamed } from "./objects.ts";
import { type Env, type Settings, settingsOf } from "./settings.ts";
import { signToken } from "./token.ts";

interface JobRecord extends NewJob {
	attempt: number;
	deadline: number;
	ended: number | null;
}

/** A page of the log carries about this much, so that a reader never holds many pictures at once. */
const PAGE_CHARS = 1_000_000;

export class Job extends DurableObject<Env> implements JobObject {
	#job: JobRecord | undefined;
	/** When somebody last read, or said that they are still there. After an eviction readers get a fresh grace. */
	#present = Date.now();
	/** Reads that wait for the next event. */
	#waiting = new Set<() => void>();
	#settings: Settings;

	constructor(ctx: DurableObjectState, env: Env) {
		super(ctx, env);
		this.#settings = settingsOf(env);
		this.#job = ctx.storage.kv.get<JobRecord>("job");
	}

	get #id(): string {
		return this.ctx.id.toString();
	}

	/** Starts the log with the `plan` event. The caller queues the job in its pool. */
	async create({ scales = [], ...job }: NewJob): Promise<void> {
		if (this.#job) throw new Error("this job exists already");
		this.ctx.storage.sql.exec(
			"CREATE TABLE log (n INTEGER PRIMARY KEY, type TEXT NOT NULL, scale INTEGER UNIQUE, " +
				"codes TEXT, json TEXT NOT NULL)",
		);
		this.#save({ ...job, attempt: 0, deadline: Date.now() + this.#settings.JOB_DEADLINE_SECONDS * 1000, ended: null });
		this.#append({ type: "plan", job: this.#id, ...job.event });
		for (const scale of scales) this.#append(scale);
		this.#present = Date.now();
		await this.#setAlarm();
	}

	/** Forgets a job that its pool refused. */
	async discard(): Promise<void> {
		await this.#forget();
	}

	/**
	 * Events after number `after`; waits up to `wait` milliseconds when there are none yet. Counts as presence.
	 * Null when the job is unknown, or its log was deleted.
	 */
	async read(after: number, wait: number): Promise<LogPage | null> {
		if (!this.#job) return null;
		this.#present = Date.now();
		let rows = this.#rows(after);
		if (rows.length === 0 && this.#job.ended === null) {
			await this.#nextEvent(wait);
			if (!this.#job) return null;
			rows = this.#rows(after);
		}
		const next = (rows.at(-1)?.n ?? after) + 1;
		return { rows, ended: this.#job.ended !== null && next >= this.#length() };
	}

	/** A reader is still there, though it may not be ready for more. */
	present(): void {
		this.#present = Date.now();
	}

	/** The next attempt, with the codes of the scales logged so far; null when nothing is left to do. */
	async lease(): Promise<Lease | null> {
		const job = this.#job;
		if (!job || job.ended !== null) return null;
		const secret = this.#settings.WORKER_SECRET;
		if (secret === undefined) throw new Error("WORKER_SECRET is not set");
		if (job.attempt >= this.#settings.MAX_ATTEMPTS) {
			await this.#end({
				type: "error",
				code: "worker_lost",
				message: `The picture was begun ${job.attempt} times and no worker finished it. Try again.`,
			});
			return null;
		}
		const attempt = job.attempt + 1;
		this.#save({ ...job, attempt });
		const codes = this.ctx.storage.sql
			.exec<{ codes: string }>("SELECT codes FROM log WHERE scale IS NOT NULL ORDER BY scale")
			.toArray();
		return {
			type: "lease",
			job: this.#id,
			attempt,
			token: await signToken(secret, this.#id, attempt),
			deliver: `/internal/jobs/${this.#id}/events`,
			request: job.request,
			codes: codes.map((row) => row.codes),
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
	async deliver(attempt: number, event: WorkerEvent): Promise<DeliveryAnswer | { refused: string }> {
		const job = this.#job;
		if (!job || job.ended !== null || job.attempt !== attempt) return { go: "stop" };
		if (event.type === "error") {
			await this.#end(event);
			return { go: "stop" };
		}
		if (event.type === "revision") return this.#revise(job, event);
		const problem =
			event.type === "scale"
				? scaleProblem(job, event)
				: event.seed !== job.request.seed
					? `seed ${event.seed} is not the request's ${job.request.seed}`
					: null;
		if (problem) return { refused: problem };

		const { plan } = job.request;
		const missing = this.#nextScale(job);
		if (event.type === "final") {
			if (missing !== -1) return { refused: `final before scale ${missing}` };
			await this.#end(event);
			return { go: "stop" };
		}
		if (missing !== -1 && event.index > missing) return { refused: `scale ${event.index} before scale ${missing}` };
		if (plan.decide && event.index > plan.decide.after)
			return { refused: `scale ${event.index} before the plan is settled` };
		if (event.index === missing) {
			this.#append(event);
			this.#wake();
		}
		if (this.#abandoned()) {
			await this.#abandon();
			return { go: "stop" };
		}
		return { go: "on" };
	}

	/** Settles the rest of the plan, once: a later attempt reads it. */
	#revise(job: JobRecord, event: RevisionEvent): DeliveryAnswer | { refused: string } {
		const { plan } = job.request;
		const same = (a: StagePlan, b: StagePlan) =>
			JSON.stringify(StagePlan.parse(a)) === JSON.stringify(StagePlan.parse(b));
		if (!plan.decide) return same(plan, event.plan) ? { go: "on" } : { refused: "the plan is settled" };
		if (event.after !== plan.decide.after || this.#logged() !== event.after)
			return { refused: `the plan is settled after scale ${plan.decide.after}, not after ${event.after}` };
		if (!same(settle(plan, event.measured), event.plan)) return { refused: "the plan does not allow this revision" };
		this.#save({ ...job, request: { ...job.request, plan: event.plan } });
		this.#append(event);
		this.#wake();
		return { go: "on" };
	}

	/** Its request and its first scales, for another picture to go on from; null when the job is unknown. */
	async trunk(scales: number): Promise<{ request: JobRequest; scales: ScaleEvent[] } | null> {
		if (!this.#job) return null;
		const rows = this.ctx.storage.sql
			.exec<{ json: string; codes: string }>(
				"SELECT json, codes FROM log WHERE scale IS NOT NULL AND scale < ? ORDER BY scale",
				scales,
			)
			.toArray();
		return { request: this.#job.request, scales: rows.map(({ json, codes }) => ({ ...JSON.parse(json), codes })) };
	}

	/** Nobody wants the picture any more: ended, and stopped where it runs. */
	async stop(): Promise<void> {
		if (this.#job && this.#job.ended === null)
			await this.#endAndCancel({ type: "error", code: "cancelled", message: "The picture was cancelled." });
	}

	/** Ends the job with an error, unless it has ended. */
	async fail(code: string, message: string): Promise<void> {
		if (this.#job && this.#job.ended === null) await this.#end({ type: "error", code, message });
	}

	/**
	 * Three things have their time: presence, the deadline, and deletion. Alarms may come twice or early, so it looks
	 * afresh.
	 */
	override async alarm(): Promise<void> {
		const job = this.#job;
		if (!job) return;
		const now = Date.now();
		if (job.ended !== null) {
			if (now >= this.#deletion(job.ended)) return this.#forget();
		} else if (now >= job.deadline) {
			return this.#endAndCancel({
				type: "error",
				code: "deadline",
				message:
					`The picture was not finished within ${this.#settings.JOB_DEADLINE_SECONDS} seconds. ` +
					"Try again, or with a faster policy.",
			});
		} else if (this.#abandoned()) {
			return this.#abandon();
		}
		await this.#setAlarm();
	}

	#abandoned(): boolean {
		return Date.now() - this.#present >= this.#settings.READER_GRACE_SECONDS * 1000;
	}

	#abandon(): Promise<void> {
		return this.#endAndCancel({
			type: "error",
			code: "abandoned",
			message: "Nobody was reading any more, so the picture was not finished. Ask for it again.",
		});
	}

	async #endAndCancel(event: ErrorEvent): Promise<void> {
		const { pool } = this.#job!;
		await this.#end(event);
		// Not awaited by the caller: the pool may be asking this very job for a lease.
		this.ctx.waitUntil(
			poolNamed(this.env, pool)
				.cancel(this.#id)
				.catch((error: unknown) =>
					console.error(JSON.stringify({ event: "cancel failed", job: this.#id, message: String(error) })),
				),
		);
	}

	async #end(event: Extract<JobEvent, { type: "final" | "error" }>): Promise<void> {
		this.#append(event);
		this.#save({ ...this.#job!, ended: Date.now() });
		this.#wake();
		await this.#setAlarm();
	}

	async #forget(): Promise<void> {
		this.#job = undefined;
		this.#wake();
		await this.ctx.storage.deleteAlarm();
		await this.ctx.storage.deleteAll();
	}

	#deletion(ended: number): number {
		return ended + this.#settings.JOB_KEEP_SECONDS * 1000;
	}

	async #setAlarm(): Promise<void> {
		const { ended, deadline } = this.#job!;
		const grace = this.#present + this.#settings.READER_GRACE_SECONDS * 1000;
		await this.ctx.storage.setAlarm(ended === null ? Math.min(deadline, grace) : this.#deletion(ended));
	}

	#save(job: JobRecord): void {
		this.#job = job;
		this.ctx.storage.kv.put("job", job);
	}

	#append(event: JobEvent): void {
		const { codes, ...shown } = event.type === "scale" ? event : { ...event, codes: null };
		const scale = event.type === "scale" ? event.index : null;
		this.ctx.storage.sql.exec(
			"INSERT INTO log (n, type, scale, codes, json) VALUES (?, ?, ?, ?, ?)",
			this.#length(),
			event.type,
			scale,
			codes,
			JSON.stringify(shown),
		);
	}

	#length(): number {
		return this.ctx.storage.sql.exec<{ length: number }>("SELECT coalesce(max(n) + 1, 0) AS length FROM log").one()
			.length;
	}

	/** The first scale of the plan that runs and is not logged; -1 when all are. */
	#nextScale({ request: { plan, until = Infinity } }: JobRecord): number {
		const logged = this.#logged();
		return plan.steps.findIndex((step, scale) => step.kind === "run" && scale > logged && scale <= until);
	}

	/** The last scale in the log; -1 when there is none. */
	#logged(): number {
		return this.ctx.storage.sql.exec<{ logged: number }>("SELECT coalesce(max(scale), -1) AS logged FROM log").one()
			.logged;
	}

	/** At least one row where there is one, then as many as fit a page. */
	#rows(after: number): LogRow[] {
		const rows: LogRow[] = [];
		let chars = 0;
		for (const row of this.ctx.storage.sql.exec<{ n: number; type: LogRow["type"]; json: string }>(
			"SELECT n, type, json FROM log WHERE n > ? ORDER BY n",
			after,
		)) {
			chars += row.json.length;
			if (rows.length > 0 && chars > PAGE_CHARS) break;
			rows.push(row);
		}
		return rows;
	}

	#wake(): void {
		for (const resume of this.#waiting) resume();
	}

	#nextEvent(wait: number): Promise<void> {
		return new Promise((resolve) => {
			const resume = () => {
				clearTimeout(timer);
				this.#waiting.delete(resume);
				resolve();
			};
			const timer = setTimeout(resume, wait);
			this.#waiting.add(resume);
		});
	}
}

/** What is wrong with a scale that passed its schema; null when nothing is. */
function scaleProblem(
	{ request: { plan, until = Infinity }, event: { grids }, bitsPerToken }: JobRecord,
	{ index, grid, codes }: ScaleEvent,
): string | null {
	if (plan.steps[index]?.kind !== "run" || index > until) return `scale ${index} does not run in this plan`;
	const [height, width] = grids[index];
	if (grid[0] !== height || grid[1] !== width)
		return `scale ${index} has the grid ${height}x${width}, not ${grid[0]}x${grid[1]}`;
	const bytes = Math.ceil((height * width * bitsPerToken) / 8);
	if (codes.length !== 4 * Math.ceil(bytes / 3)) return `scale ${index} has ${bytes} bytes of codes`;
	return null;
}
