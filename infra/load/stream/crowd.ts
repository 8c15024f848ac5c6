/**
 * Many readers of one job, of whom some are slow and some stop: what the others notice of it, and what the edge's
 * memory does. The worker is made up, so that pictures are as large, and come as evenly, as is wished.
 */
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { DEFAULT_MODEL, findModel, openModelFolder } from "../../../model-shards/open.ts";
import { register } from "../../../worker/gpu/registration.ts";
import { CAPABILITIES } from "../../../worker/protocol/capabilities.ts";
import { CONNECT_PATH, type Hello, type Lease, PoolMessage, VERSIONS } from "../../../worker/protocol/messages.ts";
import type { ModelInfo } from "../../../worker/protocol/model-info.ts";
import type { OwnEdge } from "./own-edge.ts";

export interface Crowd {
	readers: number;
	/** Of them, so many take a few kilobytes a second, and as many stop after their first picture. */
	slow: number;
	stopped: number;
	pictureBytes: number;
	gapMs: number;
}

export interface Seen {
	/** Milliseconds from the worker's send to each steady reader's receive, by scale. */
	delays: number[][];
	/** Milliseconds between one picture and the next, of each steady reader. */
	gaps: number[];
	/** Most bytes of memory that workerd took; null where the system does not tell. */
	memory: number | null;
}

export async function crowd(edge: OwnEdge, { readers, slow, stopped, pictureBytes, gapMs }: Crowd): Promise<Seen> {
	const { info } = await openModelFolder(findModel(DEFAULT_MODEL));
	const { leased } = await dialled(edge, info);
	const asked = await answer(edge, "prompt=a+photo");
	const job = (await firstLine(asked)).split(".")[0];
	const { request, deliver, token } = await leased;
	const { grids } = info.schedules[request.plan.schedule];
	const runs = request.plan.steps.flatMap(({ kind }, index) => (kind === "run" ? [index] : []));
	const sent = new Map<number, number>();
	const delays = runs.map((): number[] => []);
	const gaps: number[] = [];
	const open = await Promise.all(
		Array.from({ length: readers }, async (_, i) => {
			const stream = await answer(edge, `lastEventId=${job}.0`);
			if (i < slow) slowly(stream);
			else if (i < slow + stopped) stream.once("data", () => stream.pause());
			else {
				let last: number | null = null;
				onScales(stream, (index) => {
					const now = performance.now();
					delays[runs.indexOf(index)].push(now - (sent.get(index) as number));
					if (last !== null) gaps.push(now - last);
					last = now;
				});
			}
			return stream;
		}),
	);
	await sleep(500);
	let memory = edge.memory();
	const watch = setInterval(() => (memory = Math.max(memory ?? 0, edge.memory() ?? 0) || null), 100);
	const preview = picture(pictureBytes);
	for (const [step, index] of runs.entries()) {
		const [height, width] = grids[index];
		const codes = Buffer.alloc(Math.ceil((height * width * info.bitsPerToken) / 8)).toString("base64");
		const event = { type: "scale", index, grid: grids[index], stage: "semantic", step: step + 1, steps: runs.length };
		const body = JSON.stringify({ ...event, milliseconds: gapMs, codes, mime: "image/png", base64: preview });
		const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
		sent.set(index, performance.now());
		const taken = await fetch(`${edge.url}${deliver}`, { method: "POST", headers, body });
		if (!taken.ok) throw new Error(`the edge did not take scale ${index}: ${await taken.text()}`);
		await sleep(Math.max(0, gapMs - (performance.now() - (sent.get(index) as number))));
	}
	// The slow ones have not even begun to catch up.
	await sleep(2000);
	clearInterval(watch);
	for (const stream of [asked, ...open]) stream.destroy();
	await fetch(`${edge.url}/v1/jobs/${job}`, { method: "DELETE" });
	return { delays, gaps, memory };
}

/** Dials as a worker of this model; resolves when it is admitted. */
async function dialled({ url, secret }: OwnEdge, info: ModelInfo): Promise<{ leased: Promise<Lease> }> {
	const worker = `crowd-${Date.now()}`;
	const { token } = await register({ edge: url, secret, worker });
	const headers = { authorization: `Bearer ${token}` };
	// Node takes headers here; the DOM's types do not know it.
	const socket = new WebSocket(`${url.replace("http", "ws")}${CONNECT_PATH}`, { headers } as unknown as string[]);
	await once(socket, "open");
	const welcome = Promise.withResolvers<void>();
	const lease = Promise.withResolvers<Lease>();
	let holding: Hello["holding"] = [];
	socket.addEventListener("message", ({ data }) => {
		const message = PoolMessage.parse(JSON.parse(String(data)));
		if (message.type === "welcome") {
			setInterval(
				() => socket.send(JSON.stringify({ type: "heartbeat", holding })),
				500 * message.heartbeatSeconds,
			).unref();
			welcome.resolve();
		} else if (message.type === "lease") {
			holding = [{ job: message.job, attempt: message.attempt }];
			lease.resolve(message);
		} else if (message.type === "cancel") socket.close(1000);
	});
	const hello: Hello = {
		type: "hello",
		versions: VERSIONS,
		worker,
		instance: "1",
		adapter: { name: "made up", software: true, runtime: "node", driver: "none" },
		models: [{ info, numerics: "made up" }],
		slots: 1,
		capabilities: [...CAPABILITIES],
		holding: [],
	};
	socket.send(JSON.stringify(hello));
	await welcome.promise;
	return { leased: lease.promise };
}

async function answer({ url }: OwnEdge, query: string): Promise<IncomingMessage> {
	const asked = get(`${url}/v1/images/preview?${query}`, { agent: false });
	const [response] = (await once(asked, "response")) as [IncomingMessage];
	if (response.statusCode !== 200) throw new Error(`the edge answered ${response.statusCode}`);
	return response.on("error", () => {});
}

/** The id of a stream's first event; it is read on, and no more is kept of it. */
function firstLine(stream: IncomingMessage): Promise<string> {
	let text = "";
	return new Promise((resolve) => {
		stream.on("data", (chunk) => {
			if (text.length < 1000) text += chunk;
			const id = /^id: (.*)$/m.exec(text)?.[1];
			if (id) resolve(id);
		});
	});
}

/** Calls with a scale's index when the whole of its event is there. Keeps none of the picture. */
function onScales(stream: IncomingMessage, came: (index: number) => void): void {
	let head = "";
	let tail = "";
	stream.setEncoding("latin1").on("data", (chunk: string) => {
		for (const [i, part] of `${tail}${chunk}`.split("\n\n").entries()) {
			if (i > 0) {
				const index = /^event: scale$/m.test(head) && /"index":(\d+)/.exec(head)?.[1];
				if (index) came(Number(index));
				head = "";
			}
			if (head.length < 1000) head += part.slice(0, 1000);
			tail = "";
		}
		// Half of an empty line may be all that has come of it.
		if (chunk.endsWith("\n") && !chunk.endsWith("\n\n")) {
			tail = "\n";
			head = head.slice(0, -1);
		}
	});
}

function slowly(stream: IncomingMessage): void {
	stream.on("data", () => {
		stream.pause();
		setTimeout(() => stream.resume(), 2000).unref();
	});
}

/** Base64 of what passes for a PNG and does not compress. */
function picture(bytes: number): string {
	const random = crypto.getRandomValues(new Uint8Array(Math.min(bytes, 65_536)));
	const content = Buffer.concat(Array.from({ length: Math.ceil(bytes / random.length) }, () => random));
	return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), content]).toString("base64");
}
