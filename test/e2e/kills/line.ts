/** The network between one worker and its edge: deliveries can be seen, held, doubled, and all can go dead. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";

export interface Answer {
	status: number;
	body: string;
}

/** An event that a worker posts. */
export interface Delivery {
	job: string;
	/** `scale 2`, `revision`, `final` or `error`. */
	what: string;
	/** Posts it to the edge, or another text in its place. */
	pass(body?: string): Promise<Answer>;
}

/** What becomes of a delivery: what the worker is answered, or null where it never hears. */
export type Meddle = (delivery: Delivery) => Promise<Answer | null>;

const passOn: Meddle = (delivery) => delivery.pass();

export class Line {
	readonly url: string;
	meddle: Meddle = passOn;
	readonly #edge: URL;
	readonly #server: Server;
	/** Connections there are, with the edge's end of those that are WebSockets. */
	readonly #living = new Map<Socket, Socket | null>();
	#gate = Promise.withResolvers<void>();

	private constructor(server: Server, edge: string) {
		this.#server = server;
		this.#edge = new URL(edge);
		this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
		server.on("connection", (socket) => {
			this.#living.set(socket, null);
			socket.on("close", () => this.#living.delete(socket)).on("error", () => {});
		});
		server.on("request", (request, response) => void this.#carry(request, response).catch(() => response.destroy()));
		server.on("upgrade", (request, socket) => void this.#upgrade(request, socket as Socket));
	}

	/** Closed: nothing gets through before it is opened. */
	static async to(edge: string): Promise<Line> {
		const server = createServer().listen(0, "127.0.0.1");
		await once(server, "listening");
		return new Line(server, edge);
	}

	open(): void {
		this.#gate.resolve();
	}

	/** All connections there are break, and new ones wait until it is opened again. */
	shut(): void {
		this.#gate = Promise.withResolvers<void>();
		for (const socket of this.#living.keys()) socket.destroy();
	}

	/** All connections there are go dead without a sound, as behind a router that forgot them; new ones pass. */
	swallow(): void {
		this.#living.clear();
	}

	/** A text frame that the worker never sent, masked as a client's must be (RFC 6455, 5.2). */
	inject(text: string): void {
		const payload = Buffer.from(text);
		if (payload.length > 125) throw new Error("a short frame has 125 bytes at most");
		const frame = Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload]);
		for (const far of this.#living.values()) far?.write(frame);
	}

	close(): void {
		this.#server.close();
		this.#server.closeAllConnections();
		for (const socket of this.#living.keys()) socket.destroy();
	}

	async #carry(request: IncomingMessage, response: ServerResponse): Promise<void> {
		await this.#gate.promise;
		const body = await text(request);
		const pass = async (other = body): Promise<Answer> => {
			const answer = await fetch(new URL(request.url!, this.#edge), {
				method: request.method,
				headers: { authorization: request.headers.authorization ?? "", "content-type": "application/json" },
				...(request.method === "POST" && { body: other }),
			});
			return { status: answer.status, body: await answer.text() };
		};
		const answer =
			request.method === "POST"
				? await this.meddle({ job: request.url!.split("/")[3], what: whatIs(body), pass })
				: await pass();
		if (answer === null || !this.#living.has(request.socket)) return;
		response.writeHead(answer.status, { "content-type": "application/json" }).end(answer.body);
	}

	async #upgrade(request: IncomingMessage, near: Socket): Promise<void> {
		await this.#gate.promise;
		if (near.destroyed) return;
		const far = connect(Number(this.#edge.port), this.#edge.hostname);
		const headers = request.rawHeaders.flatMap((name, i, all) => (i % 2 === 0 ? `${name}: ${all[i + 1]}\r\n` : []));
		far.write(`GET ${request.url} HTTP/1.1\r\n${headers.join("")}\r\n`);
		this.#living.set(near, far);
		for (const [from, to] of [
			[near, far],
			[far, near],
		]) {
			from.on("data", (data) => this.#living.has(near) && to.write(data));
			from.on("error", () => {});
			// Of what is dead, one end hears nothing of the other's.
			from.on("close", () => (from === near || this.#living.has(near)) && to.destroy());
		}
	}
}

function whatIs(body: string): string {
	const { type, index } = JSON.parse(body) as { type: string; index?: number };
	return index === undefined ? type : `${type} ${index}`;
}
