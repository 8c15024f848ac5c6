/**
 * Durable Objects without Cloudflare: storage in SQLite, alarms, hibernating sockets and calls between objects, as
 * their documentation promises them and no better. What lives in them are the edge's own classes.
 */
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import type { Random } from "../random.ts";
import type { VirtualClock } from "./clock.ts";

/** How badly the ground behaves. All zero: as well as it can. */
export interface Weather {
	/** Of a call from one object to another, each way: uniform up to so many milliseconds. */
	callMs: number;
	/** Alarms come up to so much late. */
	alarmLateMs: number;
	/** Share of alarms that come a second time. */
	alarmTwice: number;
}

interface Hosted {
	/** What is called is looked up by name. */
	[method: string]: unknown;
}
type DurableClass = new (ctx: object, env: object) => Hosted;

/** One end of a WebSocket. */
export class Socket {
	readyState = 1;
	other!: Socket;
	onmessage: ((data: string) => void) | null = null;
	onclose: ((code: number) => void) | null = null;
	#attachment: unknown = null;
	readonly #clock: VirtualClock;
	readonly #latency: () => number;

	constructor(clock: VirtualClock, latency: () => number) {
		this.#clock = clock;
		this.#latency = latency;
	}

	/** In order, after a moment; what is sent into a closed socket is gone. */
	send(data: string): void {
		if (this.readyState !== 1) throw new Error("the socket is closed");
		this.#later(() => this.other.readyState === 1 && this.other.onmessage?.(data));
	}

	/** Without a code: the connection breaks. */
	close(code = 1006): void {
		if (this.readyState === 3) return;
		this.readyState = 3;
		this.#later(() => {
			if (this.other.readyState === 3) return;
			this.other.readyState = 3;
			this.other.onclose?.(code);
		});
	}

	/** Gone without a word: the other end hears nothing of it. */
	vanish(): void {
		this.readyState = 3;
	}

	serializeAttachment(value: unknown): void {
		this.#attachment = structuredClone(value);
	}
	deserializeAttachment(): unknown {
		return structuredClone(this.#attachment);
	}

	#due = 0;
	#later(run: () => void): void {
		this.#due = Math.max(this.#due, this.#clock.now + this.#latency());
		setTimeout(run, this.#due - this.#clock.now);
	}
}

export class ObjectHost {
	/** Calls that threw, as an operator would see them in the log. */
	readonly errors: string[] = [];
	readonly #namespaces = new Map<string, { type: DurableClass; objects: Map<string, Instance> }>();
	readonly #clock: VirtualClock;
	readonly #random: Random;
	readonly #weather: Weather;
	#ids = 0;
	env: Record<string, unknown> = {};

	constructor(clock: VirtualClock, random: Random, weather: Weather) {
		this.#clock = clock;
		this.#random = random;
		this.#weather = weather;
		const host = this;
		Object.assign(globalThis, {
			// An upgrade's answer, which no other platform's Response can be.
			Response: class {
				status = 200;
				body: unknown;
				constructor(body: unknown, init: object = {}) {
					this.body = body;
					Object.assign(this, init);
				}
			},
			WebSocketPair: class {
				0 = new Socket(clock, () => host.#latency());
				1 = new Socket(clock, () => host.#latency());
				constructor() {
					this[0].other = this[1];
					this[1].other = this[0];
				}
			},
			WebSocketRequestResponsePair: class {
				request: string;
				response: string;
				constructor(request: string, response: string) {
					[this.request, this.response] = [request, response];
				}
			},
		});
	}

	/** Binds a class under a name of `env`. */
	bind(name: string, type: unknown): void {
		const objects = new Map<string, Instance>();
		this.#namespaces.set(name, { type: type as DurableClass, objects });
		const idOf = (text: string) => ({ toString: () => text, name: text });
		this.env[name] = {
			newUniqueId: () => idOf((++this.#ids).toString(16).padStart(64, "0")),
			idFromName: (name: string) => idOf(name),
			idFromString: (text: string) => idOf(text),
			get: (id: object) => this.#stub(name, String(id)),
		};
	}

	/** The object itself, as one that holds its door open: for looking at it. */
	instance(name: string, id: string): Hosted {
		return this.#instance(name, id).object;
	}

	/** Forgets what is in an object's memory; its storage and sockets stay. */
	evict(name: string, id: string): void {
		this.#namespaces.get(name)?.objects.get(id)?.evict();
	}

	/** Evicts an object as it next writes a transaction, which then fails: what it has said by then is said. */
	evictAtWrite(name: string, id: string, armed: boolean): void {
		this.#instance(name, id).doomed = armed;
	}

	ids(name: string): string[] {
		return [...(this.#namespaces.get(name)?.objects.keys() ?? [])];
	}

	/** Dials a pool as the route does for a worker whose token never ends: the worker's end of its WebSocket. */
	async dial(name: string, id: string, worker: string): Promise<Socket> {
		await this.#clock.sleep(this.#latency());
		const { object } = this.#instance(name, id);
		const answer = (await (object.fetch as (request: object) => Promise<{ webSocket: Socket }>)({
			headers: new Headers({ "x-firstlight-worker": worker, "x-firstlight-until": `${Number.MAX_SAFE_INTEGER}` }),
		})) as {
			webSocket: Socket;
		};
		return answer.webSocket;
	}

	#latency(): number {
		return this.#random() * this.#weather.callMs;
	}

	#instance(name: string, id: string): Instance {
		const namespace = this.#namespaces.get(name);
		if (!namespace) throw new Error(`no binding ${name}`);
		let instance = namespace.objects.get(id);
		if (!instance) {
			instance = new Instance(id, namespace.type, this.env, this.#clock, {
				late: () => this.#random() * this.#weather.alarmLateMs,
				twice: () => this.#random() < this.#weather.alarmTwice,
				failed: (error) => this.errors.push(String((error as Error).stack ?? error)),
			});
			namespace.objects.set(id, instance);
		}
		return instance;
	}

	#stub(name: string, id: string): object {
		return new Proxy(
			{},
			{
				get: (_, method: string) =>
					method === "then"
						? undefined
						: async (...args: unknown[]) => {
								if (method === "fetch") return await this.#instance(name, id).fetch(args[0], () => this.#latency());
								const sent = structuredClone(args);
								await this.#clock.sleep(this.#latency());
								const { object } = this.#instance(name, id);
								const answer = await (object[method] as (...args: unknown[]) => unknown)(...sent);
								await this.#clock.sleep(this.#latency());
								return structuredClone(answer);
							},
			},
		);
	}
}

interface Fate {
	late(): number;
	twice(): boolean;
	failed(error: unknown): void;
}

class Instance {
	/** It is evicted as it next writes. */
	doomed = false;
	readonly #make: () => Hosted;
	#object: Hosted | null = null;
	readonly #clock: VirtualClock;
	/** Rejects when the object is evicted. */
	#gone = lasting();

	constructor(id: string, type: DurableClass, env: object, clock: VirtualClock, fate: Fate) {
		this.#clock = clock;
		const ctx = contextOf(
			id,
			clock,
			fate,
			() => this.object,
			() => this.#writes(),
		);
		this.#make = () => new type(ctx, env);
	}

	get object(): Hosted {
		return (this.#object ??= this.#make());
	}

	/** A request to its `fetch`, whose stream breaks when the object is gone. */
	async fetch(request: unknown, latency: () => number): Promise<unknown> {
		await this.#clock.sleep(latency());
		const gone = this.#gone.promise;
		// What is gone hears nothing any more, not even that its reader left.
		let here = true;
		gone.catch(() => (here = false));
		const left = new AbortController();
		const { signal } = request as Request;
		signal.addEventListener("abort", () => here && left.abort(), { once: true });
		const asked = new Request(request as Request, { signal: left.signal });
		const answer = (await (this.object.fetch as (request: unknown) => Promise<{ body: unknown }>)(asked)) as {
			body: ReadableStream<Uint8Array> | null;
		};
		if (answer.body === null) return answer;
		const reader = answer.body.getReader();
		const body = new ReadableStream<Uint8Array>({
			async pull(controller) {
				const { done, value } = await Promise.race([reader.read(), gone]);
				if (done) controller.close();
				else controller.enqueue(value as Uint8Array);
			},
			cancel: () => (here ? reader.cancel() : undefined),
		});
		return Object.assign(answer, { body });
	}

	#writes(): void {
		if (!this.doomed) return;
		this.doomed = false;
		this.evict();
		throw new Error("the object was evicted as it wrote");
	}

	evict(): void {
		this.#object = null;
		this.#gone.reject(new Error("the object was evicted"));
		this.#gone = lasting();
	}
}

function lasting(): PromiseWithResolvers<never> {
	const made = Promise.withResolvers<never>();
	// Nobody may be reading.
	made.promise.catch(() => {});
	return made;
}

function contextOf(id: string, clock: VirtualClock, fate: Fate, object: () => Hosted, writes: () => void): object {
	const call = (method: string, ...args: unknown[]) => {
		const made = object();
		Promise.resolve()
			.then(() => (made[method] as ((...args: unknown[]) => unknown) | undefined)?.apply(made, args))
			.catch(fate.failed);
	};
	const sockets: { socket: Socket; tags: string[] }[] = [];
	let automatic: { request: string; response: string } | null = null;
	return {
		id: { toString: () => id, name: id },
		storage: storageOf(clock, fate, () => call("alarm"), writes),
		waitUntil: (promise: Promise<unknown>) => void promise.catch(fate.failed),
		blockConcurrencyWhile: async (run: () => Promise<unknown>) => await run(),
		setWebSocketAutoResponse: (pair: typeof automatic) => (automatic = pair),
		getWebSocketAutoResponseTimestamp: () => null,
		acceptWebSocket(socket: Socket, tags: string[] = []) {
			sockets.push({ socket, tags });
			socket.onmessage = (data) => {
				if (automatic?.request === data) socket.send(automatic.response);
				else call("webSocketMessage", socket, data);
			};
			socket.onclose = (code) => {
				sockets.splice(
					sockets.findIndex((each) => each.socket === socket),
					1,
				);
				call("webSocketClose", socket, code, "", code === 1000);
			};
		},
		getWebSockets: (tag?: string) =>
			sockets
				.filter(({ socket, tags }) => socket.readyState === 1 && (tag === undefined || tags.includes(tag)))
				.map(({ socket }) => socket),
		getTags: (socket: Socket) => sockets.find((each) => each.socket === socket)?.tags ?? [],
	};
}

function storageOf(clock: VirtualClock, { late, twice }: Fate, ring: () => void, writes: () => void): object {
	let database: DatabaseSync | null = null;
	const statements = new Map<string, StatementSync>();
	const kv = new Map<string, unknown>();
	let alarm: { at: number; timer: unknown } | null = null;
	const open = () => (database ??= new DatabaseSync(":memory:"));
	const clear = () => {
		if (alarm) clearTimeout(alarm.timer as number);
		alarm = null;
	};
	return {
		sql: {
			exec(query: string, ...bindings: SQLInputValue[]) {
				const db = open();
				if (bindings.length === 0 && /^\s*(create|drop|alter)/i.test(query)) {
					db.exec(query);
					return cursor([]);
				}
				let statement = statements.get(query);
				if (!statement) statements.set(query, (statement = db.prepare(query)));
				return cursor(statement.all(...bindings));
			},
			get databaseSize() {
				return 0;
			},
		},
		kv: {
			get: (key: string) => structuredClone(kv.get(key)),
			put: (key: string, value: unknown) => void kv.set(key, structuredClone(value)),
			delete: (key: string) => kv.delete(key),
			list: () => kv.entries(),
		},
		transactionSync<T>(run: () => T): T {
			writes();
			open().exec("SAVEPOINT one");
			try {
				const result = run();
				open().exec("RELEASE one");
				return result;
			} catch (error) {
				open().exec("ROLLBACK TO one; RELEASE one");
				throw error;
			}
		},
		async getAlarm() {
			return alarm?.at ?? null;
		},
		async setAlarm(at: number | Date) {
			clear();
			const time = Number(at);
			const fire = () => {
				alarm = null;
				ring();
				// At least once is what is promised.
				if (twice()) setTimeout(ring, late());
			};
			alarm = { at: time, timer: setTimeout(fire, Math.max(0, time - clock.now) + late()) };
		},
		async deleteAlarm() {
			clear();
		},
		async deleteAll() {
			database?.close();
			database = null;
			statements.clear();
			kv.clear();
		},
		async sync() {},
	};
}

function cursor(rows: unknown[]) {
	const own = rows.map((row) => ({ ...(row as object) }));
	return {
		toArray: () => own,
		one: () => {
			if (own.length !== 1) throw new Error(`expected one row, there are ${own.length}`);
			return own[0];
		},
		rowsWritten: 0,
		[Symbol.iterator]: () => own[Symbol.iterator](),
	};
}
