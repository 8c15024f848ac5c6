/**
 * An edge in name only, which does one thing wrong: what, the prompt says. Streams, ids and pictures are as the real
 * edge's; so is resuming. Its one worker takes `serviceMs` a picture, one after the other.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import sharp from "sharp";
import { findModel, openModelFolder } from "../../../model-shards/open.ts";
import { policies } from "../../../worker/policies/index.ts";
import type { StagePlan } from "../../../worker/protocol/plan.ts";

export const DEEDS = [
	"nothing",
	"drop an event",
	"drop a scale and renumber",
	"repeat an event",
	"swap two events",
	"repeat the picture after the end",
	"send another job's event",
	"stall",
	"delay a scale",
	"truncate an event",
	"truncate the connection",
	"truncate a picture",
	"cut the base64",
	"close early",
	"close early, then be away for a moment",
	"lie about the hash",
	"draw another seed",
	"damage a picture",
	"send no picture at all",
	"garble an event",
	"forget an id",
	"answer with a page",
	"refuse",
	"refuse without a hint",
	"refuse too long",
	"fail",
	"never answer",
] as const;
export type Deed = (typeof DEEDS)[number];

const SCALES = 4;
const GRIDS = [1, 2, 3, 4].map((side): [number, number] => [side, side]);

interface Sent {
	event: string;
	id: string | null;
	data: Record<string, unknown>;
	afterMs: number;
}

export interface FaultyOptions {
	/** Of a picture, one after the other; 0: all at once. */
	serviceMs?: number;
	/** The deed is done under load alone: with so many or more requests under way. */
	underLoad?: number;
	/** How long it stalls, or delays. */
	holdMs?: number;
	scaleMs?: number;
}

export class FaultyServer implements AsyncDisposable {
	/** Jobs that were begun, and connections that resumed one. */
	begun = 0;
	resumed = 0;
	url = "";
	readonly #server: Server;
	readonly #options: Required<FaultyOptions>;
	readonly #logs = new Map<string, Sent[]>();
	/** Jobs whose next reader is turned away. */
	readonly #away = new Set<string>();
	#under = 0;
	#worker: Promise<unknown> = Promise.resolve();
	#previews: Buffer[] = [];
	#plan!: StagePlan;

	static async start(options: FaultyOptions = {}): Promise<FaultyServer> {
		const server = new FaultyServer(options);
		// Each likelier to be taken for the whole than the one before.
		const whole = await picture(64);
		const smaller = await Promise.all([8, 16, 32].map((side) => sharp(whole).resize(side, side).png().toBuffer()));
		server.#previews = [...smaller, whole];
		const { info } = await openModelFolder(findModel("tiny"));
		server.#plan = policies.exact.plan(info, {});
		server.#server.listen(0, "127.0.0.1");
		await once(server.#server, "listening");
		server.url = `http://127.0.0.1:${(server.#server.address() as AddressInfo).port}`;
		return server;
	}

	private constructor({ serviceMs = 0, underLoad = 0, holdMs = 400, scaleMs = 10 }: FaultyOptions) {
		this.#options = { serviceMs, underLoad, holdMs, scaleMs };
		this.#server = createServer((request, response) => void this.#answer(request, response).catch(() => {}));
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.#server.closeAllConnections();
		this.#server.close();
		await once(this.#server, "close");
	}

	async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
		const url = new URL(request.url ?? "/", this.url);
		if (url.pathname === "/v1/images/generations") return await this.#openai(request, response);
		if (url.pathname !== "/v1/images/preview") {
			response.writeHead(404, { "content-type": "application/json" });
			response.end(JSON.stringify({ error: { code: "not_found", message: "nothing here" } }));
			return;
		}
		const { prompt = "nothing", seed = "0" } = Object.fromEntries(url.searchParams);
		const resumed = request.headers["last-event-id"];
		if (resumed !== undefined) return await this.#resume(response, String(resumed));
		this.#under += 1;
		try {
			const deed = this.#under > this.#options.underLoad ? (prompt as Deed) : "nothing";
			if (deed.startsWith("refuse")) return refuse(response, deed);
			if (deed === "never answer") return void (await once(request, "close"));
			if (this.#options.serviceMs > 0) await this.#turn();
			await this.#stream(response, deed, Number(seed));
		} finally {
			this.#under -= 1;
		}
	}

	/** One worker, first come, first served: who comes while it works waits. */
	async #turn(): Promise<void> {
		const before = this.#worker;
		this.#worker = before.then(() => sleep(this.#options.serviceMs));
		await this.#worker;
	}

	async #stream(response: ServerResponse, deed: Deed, seed: number): Promise<void> {
		this.begun += 1;
		const job = createHash("sha256").update(`job ${this.begun}`).digest("hex");
		const log = this.#log(job, seed, deed);
		this.#logs.set(job, log);
		if (deed === "close early, then be away for a moment") this.#away.add(job);
		if (deed === "answer with a page") {
			response.writeHead(200, { "content-type": "text/html" });
			response.end("<!doctype html><p>Please log in.</p>");
			return;
		}
		response.writeHead(200, { "content-type": "text/event-stream", "x-request-id": job.slice(0, 8) });
		response.write("retry: 20\n\n");
		await this.#send(response, spoiled(log, deed, this.#options.holdMs), deed);
	}

	/** A stream taken up again is as it should be. */
	async #resume(response: ServerResponse, id: string): Promise<void> {
		this.resumed += 1;
		const [job, n] = id.split(".");
		if (this.#away.delete(job)) return refuse(response, "refuse without a hint");
		const rest = this.#logs.get(job)?.slice(Number(n) + 1) ?? [];
		if (rest.length === 0) return void response.writeHead(204).end();
		response.writeHead(200, { "content-type": "text/event-stream" });
		response.write("retry: 20\n\n");
		await this.#send(response, rest, "nothing");
	}

	async #send(response: ServerResponse, log: readonly Sent[], deed: Deed): Promise<void> {
		for (const [i, { event, id, data, afterMs }] of log.entries()) {
			await sleep(afterMs);
			if (response.destroyed) return;
			let json = JSON.stringify(data);
			if (deed === "garble an event" && i === 2) json = json.slice(0, -8);
			const text = `event: ${event}\n${id === null ? "" : `id: ${id}\n`}data: ${json}\n\n`;
			if (deed === "truncate an event" && i === 3) return void response.end(text.slice(0, text.length / 2));
			if (deed === "truncate the connection" && i === 3) {
				response.write(text.slice(0, text.length / 2));
				await sleep(20);
				return void response.destroy();
			}
			response.write(text);
		}
		response.end();
	}

	#log(job: string, seed: number, deed: Deed): Sent[] {
		const { scaleMs } = this.#options;
		const base64 = (at: number) => this.#previews[at].toString("base64");
		const sent: Sent[] = [
			{
				event: "plan",
				id: null,
				afterMs: 0,
				data: { job, model: "test", policy: "exact", seed, width: 64, height: 64, plan: this.#plan, grids: GRIDS },
			},
		];
		for (let index = 0; index < SCALES; index++)
			sent.push({
				event: "scale",
				id: null,
				afterMs: scaleMs,
				data: {
					index,
					grid: GRIDS[index],
					stage: "semantic",
					step: index + 1,
					steps: SCALES,
					milliseconds: scaleMs,
					mime: "image/png",
					base64: base64(index),
				},
			});
		const whole = this.#previews[SCALES - 1];
		sent.push({
			event: "final",
			id: null,
			afterMs: 1,
			data: {
				seed: deed === "draw another seed" ? seed + 1 : seed,
				width: 64,
				height: 64,
				milliseconds: SCALES * scaleMs,
				mime: "image/png",
				base64: base64(SCALES - 1),
				sha256: createHash("sha256")
					.update(deed === "lie about the hash" ? "another picture" : whole)
					.digest("hex"),
				digest: this.#plan.model,
				numerics: "test-1",
				adapter: "none",
			},
		});
		for (const [n, each] of sent.entries()) {
			each.data.type = each.event;
			each.id = `${job}.${n}`;
		}
		return sent;
	}

	async #openai(request: IncomingMessage, response: ServerResponse): Promise<void> {
		const chunks: Buffer[] = [];
		for await (const chunk of request) chunks.push(chunk as Buffer);
		const { prompt, seed, partial_images } = JSON.parse(Buffer.concat(chunks).toString());
		response.writeHead(200, { "content-type": "text/event-stream" });
		const fields = { output_format: "png", policy: "exact", seed };
		const partial = Array.from({ length: Math.min(SCALES, partial_images) }, (_, index) => ({
			event: "image_generation.partial_image",
			data: { ...fields, partial_image_index: index, b64_json: this.#previews[index].toString("base64") },
		}));
		const sent = [
			...partial,
			{
				event: "image_generation.completed",
				data: { ...fields, b64_json: this.#previews[SCALES - 1].toString("base64") },
			},
		];
		if (prompt === "drop an event") sent.splice(1, 1);
		if (prompt === "close early") sent.pop();
		for (const { event, data } of sent) response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
		response.end();
	}
}

function refuse(response: ServerResponse, deed: Deed): void {
	const hint = deed === "refuse" ? "1" : "600";
	const headers = deed === "refuse without a hint" ? {} : { "retry-after": hint };
	response.writeHead(503, { "content-type": "application/json", ...headers });
	response.end(JSON.stringify({ error: { code: "queue_full", message: "Too many are waiting." } }));
}

/** Events 0 plan, 1 to 4 scales, 5 final. */
function spoiled(log: readonly Sent[], deed: Deed, holdMs: number): Sent[] {
	const sent = log.map((each) => ({ ...each, data: { ...each.data } }));
	const picture = (change: (bytes: Buffer) => Buffer) => {
		sent[2].data.base64 = change(Buffer.from(String(sent[2].data.base64), "base64")).toString("base64");
	};
	switch (deed) {
		case "drop an event":
			sent.splice(2, 1);
			break;
		case "drop a scale and renumber":
			sent.splice(2, 1);
			for (const [n, each] of sent.entries()) each.id = `${String(each.data.job ?? log[0].data.job)}.${n}`;
			break;
		case "repeat an event":
			sent.splice(3, 0, sent[2]);
			break;
		case "swap two events":
			sent.splice(2, 2, sent[3], sent[2]);
			break;
		case "repeat the picture after the end":
			sent.push({ ...sent[5], id: `${String(log[0].data.job)}.6` });
			break;
		case "send another job's event":
			sent.splice(3, 0, { ...sent[2], id: `${"f".repeat(64)}.3` });
			break;
		case "stall":
		case "delay a scale":
			sent[3].afterMs += holdMs;
			break;
		case "truncate a picture":
			picture((bytes) => bytes.subarray(0, bytes.length - 20));
			break;
		case "cut the base64":
			sent[2].data.base64 = String(sent[2].data.base64).slice(0, -3);
			break;
		case "damage a picture":
			picture((bytes) => Buffer.concat([Buffer.from("no picture"), bytes]));
			break;
		case "send no picture at all":
			// A whole frame with nothing that a decoder takes in it.
			picture((bytes) => Buffer.concat([bytes.subarray(0, 8), Buffer.alloc(200), bytes.subarray(-12)]));
			break;
		case "forget an id":
			sent[2].id = null;
			break;
		case "close early":
		case "close early, then be away for a moment":
			sent.splice(4);
			break;
		case "fail":
			sent.splice(3, Number.POSITIVE_INFINITY, {
				event: "error",
				id: sent[3].id,
				afterMs: 1,
				data: { type: "error", code: "worker_lost", message: "It was begun 3 times and nobody finished it." },
			});
	}
	return sent;
}

/** Something with shapes in it, so that a smaller copy looks like it. */
async function picture(side: number): Promise<Buffer> {
	const data = Buffer.alloc(side * side * 3);
	for (let y = 0; y < side; y++)
		for (let x = 0; x < side; x++) {
			const inside = (x - side / 2) ** 2 + (y - side / 2) ** 2 < (side / 3) ** 2;
			data.set(inside ? [200, 40, 40] : [(x * 255) / side, (y * 255) / side, 180], (y * side + x) * 3);
		}
	return await sharp(data, { raw: { width: side, height: side, channels: 3 } })
		.png()
		.toBuffer();
}
