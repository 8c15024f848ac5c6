/**
 * A GPU worker for tests: speaks the real protocol over a real socket, makes deterministic bytes, and misbehaves on
 * request.
 */

import { exports } from "cloudflare:workers";
import { createHash } from "node:crypto";
import type { WorkerEvent } from "../../worker/protocol/job.ts";
import {
	CONNECT_PATH,
	type DeliveryAnswer,
	type Holding,
	type Lease,
	PING,
	PONG,
	type PoolMessage,
	REGISTER_PATH,
	VERSIONS,
} from "../../worker/protocol/messages.ts";
import { ModelInfo } from "../../worker/protocol/model-info.ts";

export const SECRET = "test-secret-0123456789";
/** What the edge signs with. */
export const ADMIN = "admin-secret-0123456789";
export const ORIGIN = "http://localhost";

export function edge(path: string, init?: RequestInit): Promise<Response> {
	return exports.default.fetch(`${ORIGIN}${path}`, init);
}

export interface Health {
	status: string;
	workers: {
		adapter: string;
		software: boolean;
		runtime: string;
		models: string[];
		busy: number;
		slots: number;
		draining: boolean;
	}[];
	models: string[];
	loading: { model: string; part: string; done: number }[];
	queue: number;
}
export async function health(): Promise<Health> {
	return (await edge("/healthz")).json();
}

const peers = new Set<Peer>();
export function peersLeave(): void {
	for (const peer of peers) peer.leave();
	peers.clear();
}

export const MODEL = ModelInfo.parse({
	id: "test-32",
	digest: `sha256:${"a1".repeat(32)}`,
	family: "infinity",
	schedules: {
		"1:1": {
			grids: [
				[1, 1],
				[2, 2],
				[3, 3],
				[4, 4],
			],
			image: { height: 32, width: 32 },
		},
		"2:1": {
			grids: [
				[1, 1],
				[4, 2],
			],
			image: { height: 64, width: 32 },
		},
	},
	defaultSchedule: "1:1",
	blocks: 4,
	chunks: [
		[0, 2],
		[2, 4],
	],
	bitsPerToken: 8,
	maxPromptTokens: 16,
	sampling: { guidance: 3, tau: 0.5, topK: 0, topP: 0 },
	calibration: {
		"1:1": {
			structureFrom: 1,
			fidelityFrom: 2,
			measured: {
				skipFrom: 3,
				guidanceTo: 2,
				earlyTau: 0.4,
				rankRatio: { 2: [0.5, 0.5], 3: [0.5, 0.5] },
				detailRatio: { 2: 0.5, 3: 0.5 },
				look: { after: 1, from: 2, hold: 0.8 },
				detail: [0.1, 0.2],
			},
		},
	},
});
export const OTHER_MODEL = ModelInfo.parse({
	...MODEL,
	id: "other-32",
	digest: `sha256:${"b2".repeat(32)}`,
	calibration: {},
});
/** Draws ten classes in place of text. */
export const CLASS_MODEL = ModelInfo.parse({
	...MODEL,
	id: "classes-32",
	digest: `sha256:${"c3".repeat(32)}`,
	family: "var",
	maxPromptTokens: 0,
	classes: 10,
	sampling: { ...MODEL.sampling, guidance: [1, 2.5] },
	calibration: {},
});

/** Registers as a worker, and may ask for models. */
export function registered(worker: string, models: string[] = [], secret = SECRET): Promise<Response> {
	return edge(REGISTER_PATH, {
		method: "POST",
		headers: { "content-type": "application/json", authorization: `Bearer ${secret}` },
		body: JSON.stringify({ worker, models }),
	});
}
export async function workerToken(worker: string): Promise<string> {
	const response = await registered(worker);
	if (response.status !== 200) throw new Error(`not registered: ${response.status} ${await response.text()}`);
	return ((await response.json()) as { token: string }).token;
}

/** A key of somebody who is not whoever needs none here. */
export async function newKey(): Promise<string> {
	const response = await edge("/v1/admin/keys", {
		method: "POST",
		headers: { "content-type": "application/json", authorization: `Bearer ${ADMIN}` },
		body: '{"name":"somebody"}',
	});
	return ((await response.json()) as { key: string }).key;
}

export interface PeerOptions {
	worker?: string;
	/** Of the process; another one each time. */
	instance?: string;
	/** In hand from before the connection. */
	holding?: Holding[];
	models?: ModelInfo[];
	numerics?: string;
	slots?: number;
	/** What it can do; left out, as a worker of before that was said. */
	capabilities?: readonly string[];
	/** Answers every lease with the whole picture. */
	automatic?: boolean;
}

export class Peer {
	readonly inbox: PoolMessage[] = [];
	closed: { code: number; reason: string } | null = null;
	/** Attempts in hand by job, as heartbeats name them. */
	readonly jobs = new Map<string, number>();
	pongs = 0;
	readonly #socket: WebSocket;
	readonly #options: PeerOptions;
	readonly #instance: string = crypto.randomUUID();
	#waiting: (() => void)[] = [];
	/** Whether something was in hand at the last heartbeat. */
	#busy = false;
	#heart: ReturnType<typeof setInterval> | undefined;

	/** A socket to the pool, before `hello`. */
	static async dial(options: PeerOptions = {}): Promise<Peer> {
		const token = await workerToken(options.worker ?? "peer-1");
		const response = await edge(CONNECT_PATH, { headers: { upgrade: "websocket", authorization: `Bearer ${token}` } });
		if (!response.webSocket) throw new Error(`no socket: ${response.status} ${await response.text()}`);
		return new Peer(response.webSocket, options);
	}

	/** An admitted worker. */
	static async join(options: PeerOptions = {}): Promise<Peer> {
		return await (await Peer.dial(options)).admitted();
	}

	/** Says hello, and from its welcome on that it is there. */
	async admitted(): Promise<this> {
		this.send(this.hello());
		const { heartbeatSeconds } = await this.next("welcome");
		this.#heart = setInterval(() => this.heartbeat(), heartbeatSeconds * 500);
		return this;
	}

	constructor(socket: WebSocket, options: PeerOptions) {
		this.#socket = socket;
		this.#options = options;
		socket.addEventListener("message", ({ data }) => {
			if (data === PONG) this.pongs += 1;
			else this.#receive(JSON.parse(data as string));
		});
		socket.addEventListener("close", ({ code, reason }) => {
			this.closed = { code, reason };
			clearInterval(this.#heart);
			this.#wake();
		});
		socket.accept();
		peers.add(this);
	}

	hello() {
		const { worker = "peer-1", models = [MODEL], numerics = "numerics-1", slots = 1, holding = [] } = this.#options;
		const { capabilities } = this.#options;
		return {
			type: "hello",
			versions: VERSIONS,
			worker,
			instance: this.#options.instance ?? this.#instance,
			holding,
			adapter: { name: "Test adapter", software: true, runtime: "node", driver: "test 1" },
			models: models.map((info) => ({ info, numerics })),
			slots,
			...(capabilities && { capabilities }),
		};
	}

	send(message: unknown): void {
		if (this.closed) return;
		this.#socket.send(typeof message === "string" ? message : JSON.stringify(message));
	}

	sendBytes(bytes: Uint8Array<ArrayBuffer>): void {
		this.#socket.send(bytes);
	}

	/** Empty hands are told once, as a worker does. */
	heartbeat(): void {
		this.send(PING);
		const holding = [...this.jobs].map(([job, attempt]) => ({ job, attempt }));
		if (holding.length > 0 || this.#busy) this.send({ type: "heartbeat", holding });
		this.#busy = holding.length > 0;
	}

	/** Stops the heartbeat but keeps the socket, as a hung process does. */
	hang(): void {
		clearInterval(this.#heart);
	}

	/** Goes away without a word, for good. */
	leave(): void {
		this.#part(1000);
	}

	/** Loses its connection, as in a deploy or a cut. */
	cut(): void {
		this.#part(4000);
	}

	#part(code: number): void {
		clearInterval(this.#heart);
		if (this.closed) return;
		this.closed = { code, reason: "gone" };
		this.#socket.close(code, "gone");
	}

	/** The next message of a type, out of those that have come and those to come. */
	async next<T extends PoolMessage["type"]>(type: T, milliseconds = 5000): Promise<Extract<PoolMessage, { type: T }>> {
		const deadline = Date.now() + milliseconds;
		for (;;) {
			const at = this.inbox.findIndex((message) => message.type === type);
			if (at !== -1) return this.inbox.splice(at, 1)[0] as Extract<PoolMessage, { type: T }>;
			if (Date.now() > deadline)
				throw new Error(`no ${type} within ${milliseconds} ms; closed: ${JSON.stringify(this.closed)}`);
			await this.#changed(deadline - Date.now());
		}
	}

	async untilClosed(milliseconds = 5000): Promise<{ code: number; reason: string }> {
		const deadline = Date.now() + milliseconds;
		while (!this.closed) {
			if (Date.now() > deadline) throw new Error(`the socket is open after ${milliseconds} ms`);
			await this.#changed(deadline - Date.now());
		}
		return this.closed;
	}

	release({ job, attempt }: Lease, outcome: "done" | "handed-back" = "done", cause?: "failed" | "preempted"): void {
		this.jobs.delete(job);
		this.send({ type: "release", job, attempt, outcome, cause, reason: "test" });
	}

	/** Delivers what the lease still lacks, then the final picture; ends early when told to stop. */
	async finish(lease: Lease): Promise<void> {
		for (const index of runs(lease).slice(lease.codes.length)) {
			if ((await delivered(lease, scaleEvent(lease, index))).go === "stop") return this.release(lease);
		}
		await delivered(lease, finalEvent(lease));
		this.release(lease);
	}

	#receive(message: PoolMessage): void {
		if (message.type === "lease") {
			this.jobs.set(message.job, message.attempt);
			if (this.#options.automatic) return void this.finish(message).catch((error: unknown) => console.error(error));
		}
		this.inbox.push(message);
		this.#wake();
	}

	#wake(): void {
		for (const resume of this.#waiting.splice(0)) resume();
	}

	#changed(milliseconds: number): Promise<void> {
		return new Promise((resolve) => {
			this.#waiting.push(resolve);
			setTimeout(resolve, Math.max(1, milliseconds));
		});
	}
}

/** Scale indices that the lease's plan runs. */
export function runs({ request: { plan } }: Lease): number[] {
	return plan.steps.flatMap(({ kind }, index) => (kind === "run" ? [index] : []));
}

export function codesOf(index: number, tokens: number): string {
	return btoa(String.fromCharCode(...Array.from({ length: tokens }, (_, token) => (31 * index + token) % 256)));
}

export function scaleEvent(lease: Lease, index: number): Extract<WorkerEvent, { type: "scale" }> {
	const { plan, previews, format } = lease.request;
	const [height, width] = MODEL.schedules[plan.schedule].grids[index];
	const all = runs(lease);
	const wanted = previews === "all" || (previews !== "none" && all.indexOf(index) >= all.length - previews);
	return {
		type: "scale",
		index,
		grid: [height, width],
		stage: "semantic",
		step: all.indexOf(index) + 1,
		steps: all.length,
		milliseconds: 1.5,
		codes: codesOf(index, height * width),
		mime: wanted ? `image/${format.type}` : null,
		base64: wanted ? pictureOf(`preview ${index}`, format.type) : null,
	};
}

export type Final = Extract<WorkerEvent, { type: "final" }>;

/** Base64 of what passes for a picture: its first bytes say which kind it is, the rest is text. */
export function pictureOf(text: string, type: "png" | "webp" | "jpeg" = "png"): string {
	return btoa(MAGIC[type] + text);
}
const MAGIC = { png: "\x89PNG\r\n\x1a\n", webp: "RIFF....WEBP", jpeg: "\xff\xd8\xff" };

export function sha256(base64: string): string {
	return createHash("sha256").update(base64, "base64").digest("hex");
}

/** A final event, with another picture where one is given. */
export function finalEvent({ request }: Lease, base64?: string): Final {
	const { width, height } = request.format.size ?? MODEL.schedules[request.plan.schedule].image;
	const picture = base64 ?? pictureOf(`picture of ${request.seed}`, request.format.type);
	return {
		type: "final",
		seed: request.seed,
		width,
		height,
		milliseconds: 12,
		mime: `image/${request.format.type}`,
		base64: picture,
		sha256: sha256(picture),
		digest: request.plan.model,
		numerics: "numerics-1",
		adapter: "Test adapter",
	};
}

export function deliver(lease: Lease, event: unknown, token = lease.token): Promise<Response> {
	return edge(lease.deliver, {
		method: "POST",
		headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
		body: typeof event === "string" ? event : JSON.stringify(event),
	});
}

/** A delivery that must be taken. */
export async function delivered(lease: Lease, event: WorkerEvent): Promise<DeliveryAnswer> {
	const response = await deliver(lease, event);
	if (response.status !== 200) throw new Error(`delivery refused: ${response.status} ${await response.text()}`);
	return response.json();
}
