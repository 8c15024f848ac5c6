/**
 * A pool of GPU workers: their sockets, the queue, and who works on what. It passes control messages only; pictures go
 * straight from a worker to its job. Queue and leases survive eviction in SQLite, sockets hibernate with their seat
 * attached.
 */
import { DurableObject } from "cloudflare:workers";
import type { Hello, Lease, WorkerMessage } from "../protocol/messages.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import { Ledger, type QueueRow } from "./ledger.ts";
import type { PoolObject, PoolStatus } from "./objects.ts";
import { type Member, numericsOf, offers, Roster } from "./roster.ts";
import { readMessage, type Seat, seatOf, sit } from "./seat.ts";
import { type Env, type Settings, settingsOf } from "./settings.ts";

const GRANT_MILLISECONDS = 30_000;

export class Pool extends DurableObject<Env> implements PoolObject {
	#settings: Settings;
	#ledger: Ledger;
	#roster: Roster;

	constructor(ctx: DurableObjectState, env: Env) {
		super(ctx, env);
		this.#settings = settingsOf(env);
		this.#ledger = new Ledger(ctx.storage);
		this.#roster = new Roster(ctx);
		// Nothing is being granted by an instance that has just begun, and sockets may have dropped while there was none.
		this.#ledger.requeue(this.#ledger.leases().filter((lease) => lease.attempt === 0));
		for (const session of this.#roster.gone()) this.#leave(session);
	}

	/** The WebSocket of a worker whose secret the route has checked. */
	override async fetch(_request: Request): Promise<Response> {
		const { 0: client, 1: server } = new WebSocketPair();
		const session = crypto.randomUUID();
		this.ctx.acceptWebSocket(server, [session]);
		sit(server, { session, worker: null, seen: Date.now(), slots: 0, draining: false });
		await this.#wakeLater();
		return new Response(null, { status: 101, webSocket: client });
	}

	/** Queues jobs for workers that offer this model digest: all of them, or none. */
	async enqueue(jobs: readonly string[], digest: string): Promise<"queued" | "full" | "no-worker"> {
		if (!this.#roster.members().some((member) => !member.seat.draining && offers(member, digest))) return "no-worker";
		if (!this.#room(jobs.length)) return "full";
		for (const job of jobs) this.#ledger.enqueue(job, digest);
		this.#dispatch();
		await this.#wakeLater();
		return "queued";
	}

	/**
	 * Nobody waits for this job any more: out of the queue, or stopped where it runs. The worker's `release` frees its
	 * slot.
	 */
	async cancel(job: string): Promise<void> {
		this.#ledger.unqueue(job);
		const lease = this.#ledger.lease(job);
		if (!lease) return;
		if (lease.attempt === 0) this.#ledger.end(job);
		else this.#roster.send(lease.session, { type: "cancel", job, attempt: lease.attempt });
	}

	async status(): Promise<PoolStatus> {
		const members = this.#roster.members();
		const models = new Map<string, { info: ModelInfo; since: number }>();
		for (const { seat, hello, since } of members) {
			if (seat.draining) continue;
			for (const { info } of hello.models) if (!models.has(info.id)) models.set(info.id, { info, since });
		}
		return {
			workers: members.map(({ seat, hello }) => ({
				worker: hello.worker,
				adapter: hello.adapter,
				models: hello.models.map(({ info, numerics }) => ({ id: info.id, digest: info.digest, numerics })),
				busy: this.#ledger.leases(seat.session).length,
				slots: seat.slots,
				draining: seat.draining,
			})),
			models: [...models.values()],
			queue: this.#ledger.queue().length,
			room: this.#room(),
		};
	}

	override async webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): Promise<void> {
		const seat = seatOf(socket);
		const message = readMessage(data);
		if (typeof message === "string") return this.#refuse(socket, seat, message);
		if (seat.worker === null) {
			if (message.type !== "hello")
				return this.#refuse(socket, seat, `the first message must be hello, not ${message.type}`);
			return this.#admit(socket, seat, message);
		}
		sit(socket, { ...seat, seen: Date.now(), draining: seat.draining || message.type === "draining" });
		if (message.type === "hello") return this.#refuse(socket, seat, "a second hello on one socket; dial again instead");
		if (message.type === "draining") log("worker draining", { worker: seat.worker });
		else if (message.type === "release") await this.#release(seat, message);
		else this.#reconcile(seat, message.leases);
	}

	override async webSocketClose(socket: WebSocket): Promise<void> {
		this.#drop(socket, 1000, "bye");
	}

	override async webSocketError(socket: WebSocket): Promise<void> {
		this.#drop(socket, 1011, "socket error");
	}

	/** Once a heartbeat while there is anything to watch: silent workers, stuck grants, jobs that no worker can take. */
	override async alarm(): Promise<void> {
		const now = Date.now();
		for (const socket of this.#roster.sockets()) {
			const { seen, worker } = seatOf(socket);
			if (now - seen <= 3 * this.#settings.HEARTBEAT_SECONDS * 1000) continue;
			log("worker silent", { worker });
			this.#drop(socket, 1008, "no heartbeat");
		}
		this.#ledger.requeue(
			this.#ledger.leases().filter(({ attempt, granted }) => attempt === 0 && now - granted > GRANT_MILLISECONDS),
		);
		await this.#failOrphans(now);
		this.#dispatch();
		await this.#wakeLater();
	}

	async #admit(socket: WebSocket, seat: Seat, hello: Hello): Promise<void> {
		for (const other of this.#roster.members()) {
			if (other.hello.worker === hello.worker)
				this.#drop(other.socket, 1000, "replaced by a newer connection of the same worker");
		}
		this.#roster.admit(socket, seat, hello);
		this.#roster.send(seat.session, { type: "welcome", heartbeatSeconds: this.#settings.HEARTBEAT_SECONDS });
		log("worker admitted", {
			worker: hello.worker,
			adapter: hello.adapter.name,
			software: hello.adapter.software,
			models: hello.models.map(({ info }) => info.id),
		});
		this.#dispatch();
	}

	#refuse(socket: WebSocket, seat: Seat, reason: string): void {
		log("worker refused", { worker: seat.worker, reason });
		this.#roster.send(seat.session, { type: "refused", reason });
		this.#drop(socket, 1008, reason);
	}

	/** Closes a socket and gives its jobs to others. */
	#drop(socket: WebSocket, code: number, reason: string): void {
		const { session } = seatOf(socket);
		try {
			socket.close(code, reason.slice(0, 100));
		} catch {
			// It is closed already.
		}
		this.#leave(session);
		this.#dispatch();
	}

	#leave(session: string): void {
		this.#roster.forget(session);
		const leases = this.#ledger.leases(session);
		this.#ledger.requeue(leases);
		for (const { job } of leases) this.ctx.waitUntil(this.#unqueueEnded(job));
	}

	/** A worker may be gone before it could release a job that it had finished: that one keeps nobody waiting. */
	async #unqueueEnded(job: string): Promise<void> {
		try {
			if (await this.#job(job).ended()) this.#ledger.unqueue(job);
		} catch (error) {
			console.error(JSON.stringify({ event: "job not reached", job, message: String(error) }));
		}
	}

	async #release(
		{ session }: Seat,
		{ job, attempt, outcome, reason }: Extract<WorkerMessage, { type: "release" }>,
	): Promise<void> {
		const lease = this.#ledger.lease(job);
		// An old attempt, or one that has gone to another worker meanwhile.
		if (!lease || lease.session !== session || lease.attempt !== attempt) return;
		if (outcome === "handed-back") {
			log("lease handed back", { job, attempt, worker: lease.worker, reason });
			this.#ledger.requeue([lease]);
		} else {
			this.#ledger.end(job);
			// "Done" with the picture missing would leave its readers waiting for ever.
			if (!(await this.#job(job).ended())) this.#ledger.requeue([lease]);
		}
		this.#dispatch();
	}

	/**
	 * A heartbeat names the jobs in hand. One that it should hold and does not is lost; fresh leases may have crossed it.
	 */
	#reconcile({ session }: Seat, inHand: string[]): void {
		const before = Date.now() - 2 * this.#settings.HEARTBEAT_SECONDS * 1000;
		const lost = this.#ledger
			.leases(session)
			.filter(({ job, attempt, granted }) => attempt > 0 && granted < before && !inHand.includes(job));
		if (lost.length === 0) return;
		this.#ledger.requeue(lost);
		this.#dispatch();
	}

	/** Gives every queued job that a worker can take to the best such worker, oldest job first. */
	#dispatch(): void {
		const queue = this.#ledger.queue();
		if (queue.length === 0) return;
		const free = this.#roster
			.members()
			.filter(({ seat }) => !seat.draining)
			.map((member) => ({ member, free: member.seat.slots - this.#ledger.leases(member.seat.session).length }));
		for (const row of queue) {
			const able = free.filter((candidate) => candidate.free > 0 && offers(candidate.member, row.digest));
			if (able.length === 0) continue;
			const rank = ({ member, free }: (typeof able)[number]) =>
				// The same numerics id continues bit for bit; the worker that lost it last is the last resort; then spread.
				(row.numerics !== null && numericsOf(member, row.digest) === row.numerics ? 0 : 10_000) +
				(member.hello.worker === row.last ? 1000 : 0) -
				free;
			const best = able.reduce((a, b) => (rank(b) < rank(a) ? b : a));
			best.free -= 1;
			this.ctx.waitUntil(this.#grant(row, best.member));
		}
	}

	/** Takes the slot at once, then asks the job for its lease; by the answer the worker or the reader may be gone. */
	async #grant(row: QueueRow, member: Member): Promise<void> {
		const { job } = row;
		const { session } = member.seat;
		this.#ledger.grant(row, { session, worker: member.hello.worker, numerics: numericsOf(member, row.digest)! });
		let lease: Lease | null;
		try {
			lease = await this.#job(job).lease();
		} catch (error) {
			console.error(JSON.stringify({ event: "no lease", job, message: String(error) }));
			const held = this.#ledger.lease(job);
			// Tried again at the next alarm.
			if (held?.session === session && held.attempt === 0) this.#ledger.requeue([held]);
			return;
		}
		const held = this.#ledger.lease(job);
		if (held?.session !== session || held.attempt !== 0) return;
		if (lease === null) {
			this.#ledger.end(job);
			this.#dispatch();
			return;
		}
		this.#ledger.begin(job, lease.attempt);
		this.#roster.send(session, lease);
	}

	/**
	 * A worker that restarts is back within seconds; a model that stays away fails its jobs instead of keeping them
	 * waiting.
	 */
	async #failOrphans(now: number): Promise<void> {
		const members = this.#roster.members();
		for (const { job, digest, orphaned } of this.#ledger.queue()) {
			if (members.some((member) => offers(member, digest))) {
				if (orphaned !== null) this.#ledger.orphan(job, null);
			} else if (orphaned === null) {
				this.#ledger.orphan(job, now);
			} else if (now - orphaned >= this.#settings.NO_WORKER_SECONDS * 1000) {
				await this.#job(job).fail(
					"no_workers",
					"The GPU workers that offer this model went away and did not come back. Try again later.",
				);
				this.#ledger.unqueue(job);
			}
		}
	}

	async #wakeLater(): Promise<void> {
		if (this.#roster.sockets().length === 0 && this.#ledger.queue().length === 0 && this.#ledger.leases().length === 0)
			return;
		if ((await this.ctx.storage.getAlarm()) === null)
			await this.ctx.storage.setAlarm(Date.now() + this.#settings.HEARTBEAT_SECONDS * 1000);
	}

	#room(jobs = 1): boolean {
		return this.#ledger.queue().length + jobs <= this.#settings.QUEUE_LIMIT;
	}

	#job(job: string) {
		return this.env.JOB.get(this.env.JOB.idFromString(job));
	}
}

function log(event: string, fields: Record<string, unknown>): void {
	console.log(JSON.stringify({ event, ...fields }));
}
