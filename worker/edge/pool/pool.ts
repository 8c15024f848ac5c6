/**
 * A pool of GPU workers: their sockets, the queue, and who works on what. It passes control messages only; pictures go
 * straight from a worker to its job. What it keeps survives eviction: the books in SQLite, sockets hibernate with their
 * seat attached. With nothing to watch it sleeps: pings are answered without it.
 */
import { DurableObject } from "cloudflare:workers";
import type { Loading } from "../../protocol/messages.ts";
import { Alarm } from "../alarm.ts";
import { log } from "../log.ts";
import {
	type Customer,
	type Enqueued,
	type Outlook,
	type Owner,
	type PoolObject,
	type PoolOffer,
	type PoolStatus,
	type Standing,
	type Wanted,
	WORKER_HEADERS,
} from "../objects.ts";
import { type Env, type Settings, settingsOf } from "../settings.ts";
import { Attendance } from "./attendance.ts";
import { Dispatcher } from "./dispatcher.ts";
import { Hands } from "./hands.ts";
import { Ledger } from "./ledger.ts";
import { LoadingWorkers } from "./loading.ts";
import { modelsOf, Offers, samplesOf, statusOf } from "./offer.ts";
import { Orphans } from "./orphans.ts";
import { Paces } from "./pace.ts";
import { Returns } from "./returns.ts";
import { Roster } from "./roster.ts";
import { readMessage } from "./seat.ts";
import { beats, type Shared } from "./shared.ts";
import { type Books, outlookOf, standingOf } from "./standing.ts";
import type { Seen } from "./tally.ts";
import { mayWait, mostTogether } from "./turns.ts";

const GRANT_MILLISECONDS = 30_000;
/** Where no key is asked for. */
const NOBODY: Customer = { owner: null, weight: 1 };

export class Pool extends DurableObject<Env> implements PoolObject {
	#settings: Settings;
	#ledger: Ledger;
	#roster: Roster;
	#offers: Offers;
	#books: Books;
	#returns: Returns;
	#alarm: Alarm;
	#dispatcher: Dispatcher;
	#hands: Hands;
	#attendance: Attendance;
	#orphans: Orphans;
	#loading = new LoadingWorkers();
	/** Goes on with something that nobody waits for. */
	readonly #later = (work: Promise<unknown>): void => this.ctx.waitUntil(work);
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
		const later = this.#later;
		this.#dispatcher = new Dispatcher(this.#books, this.#alarm, env, later);
		const [dispatcher, alarm, settings] = [this.#dispatcher, this.#alarm, this.#settings];
		const shared: Shared = { ...this.#books, dispatcher, alarm, env, settings, later };
		this.#hands = new Hands(shared);
		this.#attendance = new Attendance(shared, this.#hands, this.#returns, this.#loading);
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
		const { name, until } = WORKER_HEADERS;
		const [named, ends] = [request.headers.get(name), Number(request.headers.get(until))];
		if (named === null || !(ends > 0)) throw new Error("a worker whose token no route has read");
		this.#roster.accept(server, { named, until: ends });
		this.#alarm.by(Date.now() + beats(this.#settings, 1));
		return new Response(null, { status: 101, webSocket: client });
	}

	async enqueue(
		jobs: readonly string[],
		digest: string,
		{ cost = 0, needs = [], by = NOBODY }: Wanted = {},
	): Promise<Enqueued> {
		this.#attendance.sweep();
		const version = this.#offers.versions().find(({ info }) => info.digest === digest);
		if (!version) return "no-worker";
		if (!this.#offers.able(digest, needs)) return "unable";
		const { owner, weight } = by;
		if (!this.#mayWait(jobs.length, owner) && !this.#begin(jobs.length, digest, needs)) {
			const wait = mostTogether(owner, this.#settings.QUEUE_LIMIT);
			if (jobs.length <= wait) return "full";
			const most = Math.max(wait, this.#offers.slots(digest, needs));
			return jobs.length <= most ? "full" : { most };
		}
		this.#ledger.enqueue(jobs, { digest, model: version.info.id, cost, needs: [...needs], owner, weight });
		this.#dispatcher.dispatch(digest);
		this.#alarm.by(Date.now() + beats(this.#settings, 1));
		return "queued";
	}

	/** Whether so many begin at once: a slot is free for each, beside those that jobs before them can have. */
	#begin(jobs: number, digest: string, needs: readonly string[]): boolean {
		const free = this.#dispatcher.free(digest, needs);
		if (free < jobs) return false;
		const before = this.#ledger.waiting(digest).filter(({ needs }) => this.#dispatcher.free(digest, needs) > 0);
		return before.length + jobs <= free;
	}

	#mayWait(more: number, owner: Owner): boolean {
		const { queued } = this.#ledger;
		return mayWait(owner, { mine: this.#ledger.waitingOf(owner), more, queued, limit: this.#settings.QUEUE_LIMIT });
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
		const member = entry.held && this.#roster.member(entry.held.session);
		this.#hands.takeAway(entry, false);
		this.#ledger.end(job);
		// Of a lease that was on its way the slot is free at once.
		if (member) this.#dispatcher.fill(member);
	}

	/** Nothing came of a lease for too long. The job goes on elsewhere; the worker gets nothing until it has let go. */
	async stalled(job: string, attempt: number): Promise<void> {
		const entry = this.#ledger.get(job);
		if (!entry?.held || entry.attempt !== attempt) return;
		log("lease stalled", { job, attempt, worker: entry.held.worker });
		this.#hands.takeAway(entry, true);
		this.#dispatcher.takeBack(entry, "stalled");
		this.#dispatcher.dispatch(entry.digest);
	}

	async offer(patience = 0): Promise<PoolOffer> {
		this.#attendance.sweep();
		if (this.#roster.size === 0) await this.#returns.next(patience * 1000);
		if (this.#attendance.suspicious) this.#alarm.by(Date.now() + beats(this.#settings, 1));
		const queue = this.#ledger.queued;
		const places = this.#settings.QUEUE_LIMIT;
		const versions = this.#offers.versions().map((version) => {
			const { digest } = version.info;
			const room = queue < places || this.#begin(1, digest, []);
			return { ...version, ...this.#outlook(digest), queued: queue, places, room };
		});
		return { models: modelsOf(versions), queue, load: this.#ledger.size };
	}

	/** Not older than a moment. */
	#outlook(digest: string): Outlook {
		const now = Date.now();
		const kept = this.#outlooks.get(digest);
		if (kept && now - kept.at < this.#settings.STATUS_SECONDS * 1000) return kept.outlook;
		const outlook = outlookOf(digest, this.#books, (member) => this.#dispatcher.slotsOf(member));
		this.#outlooks.set(digest, { at: now, outlook });
		return outlook;
	}

	async status(): Promise<PoolStatus> {
		const now = Date.now();
		if (!this.#status || now - this.#status.at >= this.#settings.STATUS_SECONDS * 1000) {
			const offer = await this.offer();
			const workers = [...this.#roster.members()].map((member) => statusOf(member, this.#dispatcher.busy(member)));
			this.#status = {
				at: now,
				status: { ...offer, workers, loading: this.#loading.within(beats(this.#settings, 3)) },
			};
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
		if (typeof message === "string") return this.#attendance.refuse(socket, message);
		const member = this.#roster.member(this.#roster.seat(socket).session);
		if (message.type === "hello") {
			if (member) return this.#attendance.refuse(socket, "a second hello on one socket; dial again instead");
			return this.#attendance.admit(socket, message);
		}
		if (!member) return this.#attendance.refuse(socket, "the first message must be hello");
		if (message.type === "draining") {
			this.#roster.change(socket, { draining: true });
			log("worker draining", { worker: member.hello.worker });
		} else if (message.type === "renew") await this.#attendance.renew(member, message.token);
		else if (message.type === "release") await this.#hands.release(member, message);
		else this.#hands.reconcile(member, message.holding);
	}

	override async webSocketClose(socket: WebSocket, code: number): Promise<void> {
		// 1000 is a worker that says goodbye; any other may be a network's doing, and the worker dials again.
		this.#attendance.drop(socket, 1000, "bye", code !== 1000);
	}

	override async webSocketError(socket: WebSocket): Promise<void> {
		this.#attendance.drop(socket, 1011, "socket error", true);
	}

	/** Once a heartbeat while there is anything to watch, and whenever something has its time. */
	override async alarm(): Promise<void> {
		const now = Date.now();
		this.#alarm.rang();
		// First, so that what fails below is tried again.
		if (this.#attendance.watching()) this.#alarm.by(now + beats(this.#settings, 1));
		this.#attendance.sweep();
		for (const entry of this.#ledger.held()) {
			const { absent, granted } = entry.held;
			if (entry.attempt === 0) {
				if (now - granted > GRANT_MILLISECONDS) this.#dispatcher.takeBack(entry, null);
			} else if (absent !== null) {
				const until = absent + this.#settings.REJOIN_SECONDS * 1000;
				// One job that does not answer holds up no other.
				if (now >= until) this.#later(this.#dispatcher.lost(entry, "failed"));
				else this.#alarm.by(until);
			}
		}
		for (const digest of this.#ledger.digests()) {
			for (const entry of this.#ledger.waiting(digest))
				if (this.#dispatcher.exhausted(entry)) this.#later(this.#dispatcher.fail(entry));
			this.#dispatcher.dispatch(digest);
		}
		this.#later(
			this.#orphans.look(now).then((found) => {
				for (const digest of found) this.#dispatcher.dispatch(digest);
			}),
		);
	}

	async metrics(): Promise<Seen> {
		return this.#dispatcher.tally.seen(
			samplesOf(this.#ledger, this.#roster, this.#hands.memory, (member) => this.#dispatcher.busy(member)),
		);
	}

	async revokedWorkers(): Promise<string[]> {
		return [...this.#roster.revoked];
	}

	async judge(worker: string, revoked: boolean): Promise<void> {
		this.#attendance.judge(worker, revoked);
		this.#status = undefined;
	}
}
