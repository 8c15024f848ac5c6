/**
 * A pool of GPU workers: their sockets, the queue, and who works on what. It passes control messages only; pictures go
 * straight from a worker to its job. Queue and leases survive eviction in SQLite, sockets hibernate with their seat attached.
 */
import { DurableObject } from "cloudflare:workers";
import { MAX_WORKER_MESSAGE_BYTES } from "../protocol/limits.ts";
import { Hello, type Adapter, type Lease, type PoolMessage, PROTOCOL_VERSION, WorkerMessage } from "../protocol/messages.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import { type Env, type Settings, settingsOf } from "./settings.ts";

/** Which pool serves a model. One for all today; splitting by model or region changes this function and nothing else. */
export function poolNameOf(_model?: string): string {
	return "default";
}

export function poolNamed(env: Env, name: string): DurableObjectStub<Pool> {
	return env.POOL.get(env.POOL.idFromName(name));
}

export interface WorkerStatus {
	worker: string;
	adapter: Adapter;
	/** Model id, digest and numerics id of each model it offers. */
	models: { id: string; digest: string; numerics: string }[];
	busy: number;
	slots: number;
	draining: boolean;
}
export interface PoolStatus {
	workers: WorkerStatus[];
	/** Offered by a worker that takes leases, in the order the workers came; the first is the default. */
	models: { info: ModelInfo; since: number }[];
	queue: number;
	/** Whether the queue takes one more. */
	room: boolean;
}

/** What a socket remembers while the pool sleeps. Models are in the `worker` table: they are too large for an attachment. */
interface Seat {
	session: string;
	/** Null until `hello`. */
	worker: string | null;
	seen: number;
	slots: number;
	draining: boolean;
}
interface Member {
	socket: WebSocket;
	seat: Seat;
	hello: Hello;
	since: number;
}
type QueueRow = { job: string; seq: number; digest: string; numerics: string | null; last: string | null; orphaned: number | null };
/** Attempt 0: the job has not answered yet with its lease. */
type LeaseRow = { job: string; seq: number; digest: string; numerics: string; session: string; worker: string; attempt: number; granted: number };

const OPEN = 1;
const GRANT_MILLISECONDS = 30_000;

export class Pool extends DurableObject<Env> {
	#settings: Settings;
	/** `hello` by session, parsed once. */
	#hellos = new Map<string, { hello: Hello; since: number }>();

	constructor(ctx: DurableObjectState, env: Env) {
		super(ctx, env);
		this.#settings = settingsOf(env);
		ctx.storage.sql.exec(`
			CREATE TABLE IF NOT EXISTS worker (session TEXT PRIMARY KEY, hello TEXT NOT NULL, since INTEGER NOT NULL);
			CREATE TABLE IF NOT EXISTS queue (job TEXT PRIMARY KEY, seq INTEGER NOT NULL, digest TEXT NOT NULL, numerics TEXT, last TEXT, orphaned INTEGER);
			CREATE TABLE IF NOT EXISTS lease (job TEXT PRIMARY KEY, seq INTEGER NOT NULL, digest TEXT NOT NULL, numerics TEXT NOT NULL,
				session TEXT NOT NULL, worker TEXT NOT NULL, attempt INTEGER NOT NULL, granted INTEGER NOT NULL);
		`);
		// Nothing is being granted by an instance that has just begun, and sockets may have dropped while there was none.
		this.#requeue(this.#leases().filter((lease) => lease.attempt === 0));
		for (const { session } of this.#sql<{ session: string }>("SELECT session FROM worker")) {
			if (this.#socket(session) === undefined) this.#leave(session);
		}
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

	/** Queues a job for a worker that offers this model digest. */
	async enqueue(job: string, digest: string): Promise<"queued" | "full" | "no-worker"> {
		if (!this.#members().some((member) => !member.seat.draining && offers(member, digest))) return "no-worker";
		if (!this.#room()) return "full";
		const { seq } = this.#sql<{ seq: number }>("SELECT max(coalesce((SELECT max(seq) FROM queue), 0), coalesce((SELECT max(seq) FROM lease), 0)) + 1 AS seq")[0];
		this.#sql("INSERT OR IGNORE INTO queue (job, seq, digest) VALUES (?, ?, ?)", job, seq, digest);
		this.#dispatch();
		await this.#wakeLater();
		return "queued";
	}

	/** Nobody waits for this job any more: out of the queue, or stopped where it runs. The worker's `release` frees its slot. */
	async cancel(job: string): Promise<void> {
		this.#sql("DELETE FROM queue WHERE job = ?", job);
		const lease = this.#lease(job);
		if (!lease) return;
		if (lease.attempt === 0) this.#sql("DELETE FROM lease WHERE job = ?", job);
		else this.#send(lease.session, { type: "cancel", job, attempt: lease.attempt });
	}

	async status(): Promise<PoolStatus> {
		const members = this.#members();
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
				busy: this.#leases(seat.session).length,
				slots: seat.slots,
				draining: seat.draining,
			})),
			models: [...models.values()],
			queue: this.#queue().length,
			room: this.#room(),
		};
	}

	override async webSocketMessage(socket: WebSocket, data: string | ArrayBuffer): Promise<void> {
		const seat = seatOf(socket);
		const message = parse(data);
		if (typeof message === "string") return this.#refuse(socket, seat, message);
		if (seat.worker === null) {
			if (message.type !== "hello") return this.#refuse(socket, seat, `the first message must be hello, not ${message.type}`);
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
		for (const socket of this.#sockets()) {
			const { seen, worker } = seatOf(socket);
			if (now - seen <= 3 * this.#settings.HEARTBEAT_SECONDS * 1000) continue;
			log("worker silent", { worker });
			this.#drop(socket, 1008, "no heartbeat");
		}
		this.#requeue(this.#leases().filter(({ attempt, granted }) => attempt === 0 && now - granted > GRANT_MILLISECONDS));
		await this.#failOrphans(now);
		this.#dispatch();
		await this.#wakeLater();
	}

	async #admit(socket: WebSocket, seat: Seat, hello: Hello): Promise<void> {
		for (const other of this.#members()) {
			if (other.hello.worker === hello.worker) this.#drop(other.socket, 1000, "replaced by a newer connection of the same worker");
		}
		sit(socket, { ...seat, worker: hello.worker, slots: hello.slots, seen: Date.now() });
		this.#sql("INSERT INTO worker (session, hello, since) VALUES (?, ?, ?)", seat.session, JSON.stringify(hello), Date.now());
		this.#send(seat.session, { type: "welcome", heartbeatSeconds: this.#settings.HEARTBEAT_SECONDS });
		log("worker admitted", { worker: hello.worker, adapter: hello.adapter.name, software: hello.adapter.software, models: hello.models.map(({ info }) => info.id) });
		this.#dispatch();
	}

	#refuse(socket: WebSocket, seat: Seat, reason: string): void {
		log("worker refused", { worker: seat.worker, reason });
		this.#send(seat.session, { type: "refused", reason });
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
		this.#hellos.delete(session);
		this.#sql("DELETE FROM worker WHERE session = ?", session);
		const leases = this.#leases(session);
		this.#requeue(leases);
		for (const { job } of leases) this.ctx.waitUntil(this.#unqueueEnded(job));
	}

	/** A worker may be gone before it could release a job that it had finished: that one keeps nobody waiting. */
	async #unqueueEnded(job: string): Promise<void> {
		try {
			if (await this.#job(job).ended()) this.#sql("DELETE FROM queue WHERE job = ?", job);
		} catch (error) {
			console.error(JSON.stringify({ event: "job not reached", job, message: String(error) }));
		}
	}

	async #release({ session }: Seat, { job, attempt, outcome, reason }: Extract<WorkerMessage, { type: "release" }>): Promise<void> {
		const lease = this.#lease(job);
		// An old attempt, or one that has gone to another worker meanwhile.
		if (!lease || lease.session !== session || lease.attempt !== attempt) return;
		if (outcome === "handed-back") {
			log("lease handed back", { job, attempt, worker: lease.worker, reason });
			this.#requeue([lease]);
		} else {
			this.#sql("DELETE FROM lease WHERE job = ?", job);
			// "Done" with the picture missing would leave its readers waiting for ever.
			if (!(await this.#job(job).ended())) this.#requeue([lease]);
		}
		this.#dispatch();
	}

	/** A heartbeat names the jobs in hand. One that it should hold and does not is lost; fresh leases may have crossed it. */
	#reconcile({ session }: Seat, inHand: string[]): void {
		const before = Date.now() - 2 * this.#settings.HEARTBEAT_SECONDS * 1000;
		const lost = this.#leases(session).filter(({ job, attempt, granted }) => attempt > 0 && granted < before && !inHand.includes(job));
		if (lost.length === 0) return;
		this.#requeue(lost);
		this.#dispatch();
	}

	/** Gives every queued job that a worker can take to the best such worker, oldest job first. */
	#dispatch(): void {
		const queue = this.#queue();
		if (queue.length === 0) return;
		const free = this.#members()
			.filter(({ seat }) => !seat.draining)
			.map((member) => ({ member, free: member.seat.slots - this.#leases(member.seat.session).length }));
		for (const row of queue) {
			const able = free.filter((candidate) => candidate.free > 0 && offers(candidate.member, row.digest));
			if (able.length === 0) continue;
			const rank = ({ member, free }: (typeof able)[number]) =>
				// The same numerics id continues bit for bit; the worker that lost it last is the last resort; then spread.
				(row.numerics !== null && numericsOf(member, row.digest) === row.numerics ? 0 : 10_000) + (member.hello.worker === row.last ? 1000 : 0) - free;
			const best = able.reduce((a, b) => (rank(b) < rank(a) ? b : a));
			best.free -= 1;
			this.ctx.waitUntil(this.#grant(row, best.member));
		}
	}

	/** Takes the slot at once, then asks the job for its lease; by the answer the worker or the reader may be gone. */
	async #grant({ job, seq, digest }: QueueRow, member: Member): Promise<void> {
		const { session } = member.seat;
		const numerics = numericsOf(member, digest)!;
		this.ctx.storage.transactionSync(() => {
			this.#sql("DELETE FROM queue WHERE job = ?", job);
			this.#sql("INSERT OR REPLACE INTO lease (job, seq, digest, numerics, session, worker, attempt, granted) VALUES (?, ?, ?, ?, ?, ?, 0, ?)", job, seq, digest, numerics, session, member.hello.worker, Date.now());
		});
		let lease: Lease | null;
		try {
			lease = await this.#job(job).lease();
		} catch (error) {
			console.error(JSON.stringify({ event: "no lease", job, message: String(error) }));
			const held = this.#lease(job);
			if (held?.session === session && held.attempt === 0) this.#requeue([held]); // tried again at the next alarm
			return;
		}
		const held = this.#lease(job);
		if (held?.session !== session || held.attempt !== 0) return;
		if (lease === null) {
			this.#sql("DELETE FROM lease WHERE job = ?", job);
			this.#dispatch();
			return;
		}
		this.#sql("UPDATE lease SET attempt = ?, granted = ? WHERE job = ?", lease.attempt, Date.now(), job);
		this.#send(session, lease);
	}

	/** Back to their old places in the queue. */
	#requeue(leases: LeaseRow[]): void {
		for (const { job, seq, digest, numerics, worker } of leases) {
			this.ctx.storage.transactionSync(() => {
				this.#sql("DELETE FROM lease WHERE job = ?", job);
				this.#sql("INSERT OR REPLACE INTO queue (job, seq, digest, numerics, last) VALUES (?, ?, ?, ?, ?)", job, seq, digest, numerics, worker);
			});
		}
	}

	/** A worker that restarts is back within seconds; a model that stays away fails its jobs instead of keeping them waiting. */
	async #failOrphans(now: number): Promise<void> {
		const members = this.#members();
		for (const { job, digest, orphaned } of this.#queue()) {
			if (members.some((member) => offers(member, digest))) {
				if (orphaned !== null) this.#sql("UPDATE queue SET orphaned = NULL WHERE job = ?", job);
			} else if (orphaned === null) {
				this.#sql("UPDATE queue SET orphaned = ? WHERE job = ?", now, job);
			} else if (now - orphaned >= this.#settings.NO_WORKER_SECONDS * 1000) {
				await this.#job(job).fail("no_workers", "The GPU workers that offer this model went away and did not come back. Try again later.");
				this.#sql("DELETE FROM queue WHERE job = ?", job);
			}
		}
	}

	async #wakeLater(): Promise<void> {
		if (this.#sockets().length === 0 && this.#queue().length === 0 && this.#leases().length === 0) return;
		if ((await this.ctx.storage.getAlarm()) === null) await this.ctx.storage.setAlarm(Date.now() + this.#settings.HEARTBEAT_SECONDS * 1000);
	}

	#send(session: string, message: PoolMessage): void {
		try {
			this.#socket(session)?.send(JSON.stringify(message));
		} catch {
			// The socket closed under our hands; its close event gives the job to another worker.
		}
	}

	/** Admitted workers, the longest-standing first. */
	#members(): Member[] {
		const members: Member[] = [];
		for (const socket of this.#sockets()) {
			const seat = seatOf(socket);
			const entry = seat.worker === null ? undefined : this.#hello(seat.session);
			if (entry) members.push({ socket, seat, ...entry });
		}
		return members.sort((a, b) => a.since - b.since);
	}

	#hello(session: string): { hello: Hello; since: number } | undefined {
		let entry = this.#hellos.get(session);
		if (!entry) {
			const [row] = this.#sql<{ hello: string; since: number }>("SELECT hello, since FROM worker WHERE session = ?", session);
			if (!row) return undefined;
			entry = { hello: Hello.parse(JSON.parse(row.hello)), since: row.since };
			this.#hellos.set(session, entry);
		}
		return entry;
	}

	#sockets(): WebSocket[] {
		return this.ctx.getWebSockets().filter(({ readyState }) => readyState === OPEN);
	}

	#socket(session: string): WebSocket | undefined {
		return this.ctx.getWebSockets(session).find(({ readyState }) => readyState === OPEN);
	}

	#queue(): QueueRow[] {
		return this.#sql<QueueRow>("SELECT * FROM queue ORDER BY seq");
	}

	#room(): boolean {
		return this.#queue().length < this.#settings.QUEUE_LIMIT;
	}

	#leases(session?: string): LeaseRow[] {
		return session === undefined ? this.#sql<LeaseRow>("SELECT * FROM lease") : this.#sql<LeaseRow>("SELECT * FROM lease WHERE session = ?", session);
	}

	#lease(job: string): LeaseRow | undefined {
		return this.#sql<LeaseRow>("SELECT * FROM lease WHERE job = ?", job)[0];
	}

	#job(job: string) {
		return this.env.JOB.get(this.env.JOB.idFromString(job));
	}

	#sql<T extends Record<string, string | number | null>>(query: string, ...bindings: (string | number | null)[]): T[] {
		return this.ctx.storage.sql.exec<T>(query, ...bindings).toArray();
	}
}

function offers({ hello }: Member, digest: string): boolean {
	return hello.models.some(({ info }) => info.digest === digest);
}

function numericsOf({ hello }: Member, digest: string): string | undefined {
	return hello.models.find(({ info }) => info.digest === digest)?.numerics;
}

function seatOf(socket: WebSocket): Seat {
	return socket.deserializeAttachment() as Seat;
}

function sit(socket: WebSocket, seat: Seat): void {
	socket.serializeAttachment(seat);
}

/** The message, or in words what is wrong with it. */
function parse(data: string | ArrayBuffer): WorkerMessage | string {
	if (typeof data !== "string") return "messages are JSON text, not binary";
	if (data.length > MAX_WORKER_MESSAGE_BYTES) return `a message is larger than ${MAX_WORKER_MESSAGE_BYTES} characters`;
	let json: unknown;
	try {
		json = JSON.parse(data);
	} catch {
		return "a message is not JSON";
	}
	// Before the schema: a worker of another version may say hello in another shape.
	const { type, version } = (json ?? {}) as { type?: unknown; version?: unknown };
	if (type === "hello" && version !== PROTOCOL_VERSION) {
		return `this edge speaks protocol version ${PROTOCOL_VERSION}, the worker ${JSON.stringify(version)?.slice(0, 20)}; run the same release on both sides`;
	}
	const result = WorkerMessage.safeParse(json);
	if (result.success) return result.data;
	const { path, message } = result.error.issues[0];
	return `a message does not fit the protocol: ${path.join(".")}: ${message}`.slice(0, 500);
}

function log(event: string, fields: Record<string, unknown>): void {
	console.log(JSON.stringify({ event, ...fields }));
}
