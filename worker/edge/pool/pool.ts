/**
 * A pool of GPU workers: their sockets, the queue, and who works on what. It passes control messages only; pictures go
 * straight from a worker to its job. What it keeps survives eviction: the books in SQLite, sockets hibernate with their
 * seat attached. With nothing to watch it sleeps: pings are answered without it.
 */
import { DurableObject } from "cloudflare:workers";
import type { Hello, Holding, Loading, Made, WorkerMessage } from "../../protocol/messages.ts";
import { Alarm } from "../alarm.ts";
import { log } from "../log.ts";
import {
	type Customer,
	type Enqueued,
	type Outlook,
	type PoolObject,
	type PoolOffer,
	type PoolStatus,
	type Standing,
	type Wanted,
	WORKER_HEADER,
} from "../objects.ts";
import { type Env, type Settings, settingsOf } from "../settings.ts";
import { Dispatcher } from "./dispatcher.ts";
import { type Entry, Ledger, type Lent } from "./ledger.ts";
import { LoadingWorkers } from "./loading.ts";
import { modelsOf, Offers, samplesOf, statusOf } from "./offer.ts";
import { Orphans } from "./orphans.ts";
import { Paces } from "./pace.ts";
import { Returns } from "./returns.ts";
import { type Member, Roster } from "./roster.ts";
import { commonVersion, readMessage } from "./seat.ts";
import { type Books, outlookOf, standingOf } from "./standing.ts";
import type { Seen } from "./tally.ts";
import { mayWait } from "./turns.ts";

const GRANT_MILLISECONDS = 30_000;
const REVOKED = "it was revoked; whoever runs this edge can admit it again";
/** Where no key is asked for. */
const NOBODY: Customer = { owner: null, weight: 1, concurrent: Number.POSITIVE_INFINITY };

export class Pool extends DurableObject<Env> implements PoolObject {
	#settings: Settings;
	#ledger: Ledger;
	#roster: Roster;
	#offers: Offers;
	#books: Books;
	#returns: Returns;
	#alarm: Alarm;
	#dispatcher: Dispatcher;
	#orphans: Orphans;
	#loading = new LoadingWorkers();
	/** When silent workers were looked for last, and when those found so were last heard, by session. */
	#swept = 0;
	#suspects = new Map<string, number>();
	/** Bytes of device memory by worker, as it said last. */
	#memory = new Map<string, number>();
	#status: { at: number; status: PoolStatus } | undefined;
	/** By digest. It is worked out from all workers of a model, and so not for every call. */
	readonly #outlooks = new Map<string, { at: number; outlook: Outlook }>();

	constructor(ctx: DurableObjectState, env: Env) {
		super(ctx, env);
		this.#settings = settingsOf(env);
		this.#ledger = new Ledger(ctx.storage.sql);
		this.#roster = new Roster(ctx);
		this.#offers = new Offers(this.#roster);
		this.#returns = new Returns(ctx.storage.kv, this.#roster.lost > 0);
		this.#alarm = new Alarm(ctx);
		this.#books = {
			ledger: this.#ledger,
			roster: this.#roster,
			paces: new Paces(ctx.storage.sql),
			crews: new Map(),
			recountMs: this.#settings.STATUS_SECONDS * 1000,
		};
		this.#dispatcher = new Dispatcher(this.#books, this.#alarm, env, (work) => ctx.waitUntil(work));
		this.#orphans = new Orphans(this.#ledger, this.#offers, env);
		// Nothing is being granted by an instance that has just begun, and sockets may have dropped while there was none.
		for (const entry of this.#ledger.held()) {
			if (entry.attempt === 0) this.#ledger.requeue(entry, null);
			else if (!this.#roster.member(entry.held.session)) this.#ledger.miss(entry, Date.now());
		}
	}

	/** The WebSocket of a worker whose credentials the route has checked. */
	override async fetch(request: Request): Promise<Response> {
		const { 0: client, 1: server } = new WebSocketPair();
		this.#roster.accept(server, request.headers.get(WORKER_HEADER));
		this.#alarm.by(Date.now() + this.#beats(1));
		return new Response(null, { status: 101, webSocket: client });
	}

	async enqueue(
		jobs: readonly string[],
		digest: string,
		{ cost = 0, needs = [], by = NOBODY }: Wanted = {},
	): Promise<Enqueued> {
		this.#sweep();
		const version = this.#offers.versions().find(({ info }) => info.digest === digest);
		if (!version) return "no-worker";
		if (!this.#offers.able(digest, needs)) return "unable";
		const { owner, weight, concurrent } = by;
		const { all, waiting } = this.#ledger.of(owner);
		if (all + jobs.length > concurrent) return "busy";
		const places = { mine: waiting, more: jobs.length, queued: this.#ledger.queued, limit: this.#settings.QUEUE_LIMIT };
		if (!mayWait(owner, places)) return "full";
		this.#ledger.enqueue(jobs, { digest, model: version.info.id, cost, needs: [...needs], owner, weight });
		this.#dispatcher.dispatch(digest);
		this.#alarm.by(Date.now() + this.#beats(1));
		return "queued";
	}

	async standing(job: string): Promise<Standing | null> {
		const entry = this.#ledger.get(job);
		return entry ? standingOf(entry, this.#books) : null;
	}

	/** Nobody waits for this job any more: out of the books, and stopped where it runs. */
	async cancel(job: string, reason = "cancelled"): Promise<void> {
		const entry = this.#ledger.get(job);
		if (!entry) return;
		this.#dispatcher.tally.count("firstlight_cancelled_total", { reason });
		this.#takeAway(entry, false);
		this.#ledger.end(job);
	}

	/** Nothing came of a lease for too long. The job goes on elsewhere; the worker gets nothing until it has let go. */
	async stalled(job: string, attempt: number): Promise<void> {
		const entry = this.#ledger.get(job);
		if (!entry?.held || entry.attempt !== attempt) return;
		log("lease stalled", { job, attempt, worker: entry.held.worker });
		this.#takeAway(entry, true);
		this.#dispatcher.takeBack(entry, "stalled");
		this.#dispatcher.dispatch(entry.digest);
	}

	async offer(patience = 0): Promise<PoolOffer> {
		this.#sweep();
		if (this.#roster.size === 0) await this.#returns.next(patience * 1000);
		if (this.#suspects.size > 0) this.#alarm.by(Date.now() + this.#beats(1));
		const queue = this.#ledger.queued;
		const versions = this.#offers.versions().map((version) => ({ ...version, ...this.#outlook(version.info.digest) }));
		return { models: modelsOf(versions), queue, load: this.#ledger.size, room: queue < this.#settings.QUEUE_LIMIT };
	}

	/** Not older than a moment. */
	#outlook(digest: string): Outlook {
		const now = Date.now();
		const kept = this.#outlooks.get(digest);
		if (kept && now - kept.at < this.#settings.STATUS_SECONDS * 1000) return kept.outlook;
		const outlook = outlookOf(digest, this.#books, (member) => this.#dispatcher.busy(member));
		this.#outlooks.set(digest, { at: now, outlook });
		return outlook;
	}

	async status(): Promise<PoolStatus> {
		const now = Date.now();
		if (!this.#status || now - this.#status.at >= this.#settings.STATUS_SECONDS * 1000) {
			const offer = await this.offer();
			const workers = [...this.#roster.members()].map((member) => statusOf(member, this.#dispatcher.busy(member)));
			this.#status = { at: now, status: { ...offer, workers, loading: this.#loading.within(this.#beats(3)) } };
		}
		return this.#status.status;
	}

	/** A worker that is not ready yet says how far it is. */
	async loading(loading: Loading): Promise<void> {
		this.#loading.say(loading);
	}

	override async webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): Promise<void> {
		this.#roster.heard(socket);
		const message = readMessage(data);
		if (typeof message === "string") return this.#refuse(socket, message);
		const member = this.#roster.member(this.#roster.seat(socket).session);
		if (message.type === "hello") {
			if (member) return this.#refuse(socket, "a second hello on one socket; dial again instead");
			return this.#admit(socket, message);
		}
		if (!member) return this.#refuse(socket, "the first message must be hello");
		if (message.type === "draining") {
			this.#roster.change(socket, { draining: true });
			log("worker draining", { worker: member.hello.worker });
		} else if (message.type === "release") await this.#release(member, message);
		else this.#reconcile(member, message.holding);
	}

	override async webSocketClose(socket: WebSocket, code: number): Promise<void> {
		// 1000 is a worker that says goodbye; any other may be a network's doing, and the worker dials again.
		this.#drop(socket, 1000, "bye", code !== 1000);
	}

	override async webSocketError(socket: WebSocket): Promise<void> {
		this.#drop(socket, 1011, "socket error", true);
	}

	/** Once a heartbeat while there is anything to watch, and whenever something has its time. */
	override async alarm(): Promise<void> {
		const now = Date.now();
		this.#alarm.rang();
		// First, so that what fails below is tried again.
		if (this.#watching()) this.#alarm.by(now + this.#beats(1));
		this.#sweep();
		// Jobs are asked in between, and what was held may be let go, or over, by then.
		for (const { job } of this.#ledger.held()) {
			const entry = this.#ledger.lent(job);
			if (!entry) continue;
			const { absent, granted } = entry.held;
			if (entry.attempt === 0) {
				if (now - granted > GRANT_MILLISECONDS) this.#dispatcher.takeBack(entry, null);
			} else if (absent !== null) {
				const until = absent + this.#settings.REJOIN_SECONDS * 1000;
				if (now >= until) await this.#dispatcher.lost(entry, "failed");
				else this.#alarm.by(until);
			}
		}
		for (const digest of this.#ledger.digests()) {
			for (const { job } of [...this.#ledger.waiting(digest)]) {
				const entry = this.#ledger.get(job);
				if (entry && !entry.held && this.#dispatcher.exhausted(entry)) await this.#dispatcher.fail(entry);
			}
			this.#dispatcher.dispatch(digest);
		}
		for (const digest of await this.#orphans.look(now)) this.#dispatcher.dispatch(digest);
	}

	async metrics(): Promise<Seen> {
		return this.#dispatcher.tally.seen(
			samplesOf(this.#ledger, this.#roster, this.#memory, (member) => this.#dispatcher.busy(member)),
		);
	}

	async revokedWorkers(): Promise<string[]> {
		return [...this.#roster.revoked];
	}

	async judge(worker: string, revoked: boolean): Promise<void> {
		this.#roster.judge(worker, revoked);
		this.#status = undefined;
		if (!revoked) return;
		for (const { hello, socket } of [...this.#roster.members()])
			if (hello.worker === worker) this.#refuse(socket, REVOKED);
	}

	#admit(socket: WebSocket, hello: Hello): void {
		const { worker, instance } = hello;
		const { named } = this.#roster.seat(socket);
		const stranger = named !== null && named !== worker && `its token is for ${named}, not for ${worker}`;
		const problem = stranger || (this.#roster.revoked.has(worker) && REVOKED);
		if (problem) {
			this.#refuse(socket, problem);
			return;
		}
		const other = this.#roster.named(worker);
		if (other) {
			if (other.hello.instance === instance) this.#drop(other.socket, 1000, "replaced by a newer connection", true);
			else this.#refuse(other.socket, `replaced by a newer process with the name ${worker}`);
		}
		this.#loading.forget(worker);
		const member = this.#roster.admit(socket, hello);
		this.#returns.came();
		this.#roster.send(socket, {
			type: "welcome",
			version: commonVersion(hello.versions)!,
			heartbeatSeconds: this.#settings.HEARTBEAT_SECONDS,
		});
		this.#readopt(member, hello.holding);
		log("worker admitted", {
			worker,
			adapter: hello.adapter.name,
			software: hello.adapter.software,
			models: hello.models.map(({ info }) => info.id),
		});
		for (const digest of member.offers.keys()) this.#dispatcher.dispatch(digest);
	}

	/** What a worker that is back still has in hand stays its own, unless it went to another meanwhile. */
	#readopt(member: Member, holding: readonly Holding[]): void {
		const { worker, instance } = member.hello;
		const stale: Holding[] = [];
		for (const held of holding) {
			const entry = this.#ledger.get(held.job);
			const numerics = entry && member.offers.get(entry.digest);
			const its = entry?.held ? entry.held.instance === instance : entry?.last === worker;
			if (entry && its && entry.attempt === held.attempt && numerics !== undefined)
				this.#ledger.adopt(entry, { session: member.seat.session, worker, instance, numerics });
			else stale.push(held);
		}
		this.#roster.change(member.socket, { stale: stale.map((held) => ({ ...held, stuck: false })) });
		for (const held of stale) this.#roster.send(member.socket, { type: "cancel", ...held });
		// A process that begins anew has nothing of the one before; one that is back has let go of the rest.
		for (const entry of this.#ledger.missed(worker)) this.ctx.waitUntil(this.#dispatcher.lost(entry, "failed"));
	}

	#refuse(socket: WebSocket, reason: string): void {
		log("worker refused", { worker: this.#roster.seat(socket).worker, reason });
		this.#roster.send(socket, { type: "refused", reason });
		this.#drop(socket, 1008, reason, false);
	}

	/** Closes a socket. A worker that may be back keeps its jobs for a moment; those of one that is gone go to others. */
	#drop(socket: WebSocket, code: number, reason: string, back: boolean): void {
		const { session } = this.#roster.seat(socket);
		try {
			socket.close(code, reason.slice(0, 100));
		} catch {
			// It is closed already.
		}
		if (back && this.#roster.member(session)) this.#returns.left();
		this.#roster.forget(session);
		this.#suspects.delete(session);
		this.#memory.delete(this.#roster.seat(socket).worker ?? "");
		const now = Date.now();
		for (const entry of [...this.#ledger.heldBy(session)]) {
			if (entry.attempt === 0) this.#dispatcher.takeBack(entry, null);
			else if (back) this.#ledger.miss(entry, now);
			else this.ctx.waitUntil(this.#dispatcher.lost(entry, "failed"));
			this.#dispatcher.dispatch(entry.digest);
		}
		if (this.#watching()) this.#alarm.by(now + this.#settings.REJOIN_SECONDS * 1000);
	}

	async #release(
		member: Member,
		{ job, attempt, outcome, cause, reason, made }: Extract<WorkerMessage, { type: "release" }>,
	): Promise<void> {
		const { seat, socket, hello } = member;
		this.#letGo(member, (held) => held.job === job && held.attempt === attempt);
		const entry = this.#ledger.get(job);
		// An old attempt, or one that has gone to another worker meanwhile, has been let go by now.
		if (entry?.held?.session === seat.session && entry.attempt === attempt) {
			if (made) this.#made(entry as Lent, made);
			if (outcome === "handed-back") log("lease handed back", { job, attempt, worker: hello.worker, cause, reason });
			// "Done" with the picture missing would leave its readers waiting for ever.
			await this.#dispatcher.lost(entry as Lent, cause);
		}
		if (this.#roster.member(seat.session)?.socket !== socket) return;
		for (const digest of member.offers.keys()) this.#dispatcher.dispatch(digest);
	}

	/** A finished picture is one line, and one of each metric. */
	#made({ job, attempt, queued, held }: Lent, made: Made): void {
		const { tally } = this.#dispatcher;
		const waited = held.granted - queued;
		this.#memory.set(held.worker, made.memory);
		tally.count("firstlight_pictures_total", { policy: made.policy });
		if (made.first !== null && attempt === 1)
			tally.observe("firstlight_first_preview_seconds", (waited + made.first) / 1000);
		for (const [scale, milliseconds] of made.scales)
			tally.observe("firstlight_scale_seconds", milliseconds / 1000, { scale });
		log("picture", {
			job,
			attempt,
			worker: held.worker,
			policy: made.policy,
			request: made.requestId,
			traceparent: made.traceparent,
			waited,
			first: made.first,
			milliseconds: made.whole,
		});
	}

	/**
	 * A heartbeat names the jobs in hand. One that it should hold and does not is lost; fresh leases may have crossed it.
	 */
	#reconcile(member: Member, holding: readonly Holding[]): void {
		const holds = ({ job, attempt }: Holding) => holding.some((held) => held.job === job && held.attempt === attempt);
		const before = Date.now() - this.#beats(2);
		for (const entry of [...this.#ledger.heldBy(member.seat.session)])
			if (entry.attempt > 0 && entry.held.granted < before && !holds(entry))
				this.ctx.waitUntil(this.#dispatcher.lost(entry, "failed"));
		if (this.#letGo(member, (held) => !holds(held)))
			for (const digest of member.offers.keys()) this.#dispatcher.dispatch(digest);
	}

	#letGo(member: Member, gone: (held: Holding) => boolean): boolean {
		const stale = member.seat.stale.filter((held) => !gone(held));
		if (stale.length === member.seat.stale.length) return false;
		this.#roster.change(member.socket, { stale });
		return true;
	}

	/** Stops a job where it runs. It counts as in that worker's hand until the worker says otherwise. */
	#takeAway({ job, attempt, held }: Entry, stuck: boolean): void {
		const member = held && attempt > 0 ? this.#roster.member(held.session) : undefined;
		if (!member) return;
		this.#roster.change(member.socket, { stale: [...member.seat.stale, { job, attempt, stuck }] });
		this.#roster.send(member.socket, { type: "cancel", job, attempt });
	}

	/**
	 * Drops workers that were silent for three heartbeats, and for one more since that was seen: where all is late, what
	 * they said may be on its way. Looks no oftener than once a heartbeat.
	 */
	#sweep(): void {
		const time = Date.now();
		if (time - this.#swept < this.#beats(1)) return;
		this.#swept = time;
		for (const socket of this.#roster.sockets()) {
			const { session, worker, seen } = this.#roster.seat(socket);
			// Pings count once it has said who it is.
			const heard = worker === null ? seen : this.#roster.lastHeard(socket);
			const suspected = this.#suspects.get(session) === heard;
			this.#suspects.delete(session);
			if (time - heard <= this.#beats(3)) continue;
			if (suspected) {
				log("worker silent", { worker });
				this.#drop(socket, 1008, "no heartbeat", false);
			} else this.#suspects.set(session, heard);
		}
	}

	#watching(): boolean {
		return this.#ledger.size > 0 || this.#suspects.size > 0 || this.#roster.strangers > 0;
	}

	#beats(count: number): number {
		return count * this.#settings.HEARTBEAT_SECONDS * 1000;
	}
}
