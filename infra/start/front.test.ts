import { fork } from "node:child_process";
import { once } from "node:events";
import { get } from "node:http";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, it, vi } from "vitest";
import { front, LINGER_MS } from "./front.ts";

const BODY = "x".repeat(3_000_000);
const HEAD = `HTTP/1.1 200 OK\r\ncontent-length: ${BODY.length}\r\nconnection: close\r\n\r\n`;

const servers: Server[] = [];
afterEach(() => {
	for (const server of servers.splice(0)) server.close();
});

/** What stands behind it, and it; each caller's connection goes to `serve`. */
async function between(serve: (socket: Socket) => void): Promise<{ port: number; open(): Promise<number[]> }> {
	const edge = createServer({ allowHalfOpen: true }, (socket) => serve(socket.on("error", () => {})));
	edge.listen(0, "127.0.0.1");
	await once(edge, "listening");
	const portOf = (server: Server) => (server.address() as AddressInfo).port;
	const before = await front("127.0.0.1", 0, async () => new URL(`http://127.0.0.1:${portOf(edge)}`));
	servers.push(edge, before);
	const count = (server: Server) =>
		new Promise<number>((resolve, reject) => server.getConnections((error, n) => (error ? reject(error) : resolve(n))));
	return { port: portOf(before), open: () => Promise.all([count(before), count(edge)]) };
}

const answer = (socket: Socket) => void socket.once("data", () => socket.end(HEAD + BODY));
const asked = (port: number): Socket => connect({ port, host: "127.0.0.1" }).on("error", () => {});

it("hands on all of an answer whose sender closes first, and keeps nothing of it", async () => {
	const { port, open } = await between(answer);
	for (let i = 0; i < 5; i++) {
		// Without an agent: `Connection: close`, as probes ask.
		const [response] = await once(get({ port, host: "127.0.0.1", agent: false }), "response");
		expect(await text(response)).toBe(BODY);
	}
	await vi.waitFor(async () => expect(await open()).toEqual([0, 0]));
});

it.each<[string, (socket: Socket) => void, (caller: Socket) => unknown]>([
	["the caller closes while he waits", () => {}, (caller) => caller.end()],
	["the caller breaks off while he waits", () => {}, (caller) => caller.resetAndDestroy()],
	[
		"the caller closes between two requests",
		(socket) => socket.once("data", () => socket.write("a")),
		(caller) => caller.resume().end(),
	],
	["the caller closes in the midst of an answer that he does not read", answer, (caller) => caller.destroy()],
	["what stands behind breaks off", (socket) => socket.once("data", () => socket.resetAndDestroy()), () => {}],
])("keeps nothing where %s", async (_, serve, leave) => {
	const { port, open } = await between(serve);
	const caller = asked(port);
	caller.write("GET / HTTP/1.1\r\n\r\n");
	await sleep(100);
	await leave(caller);
	await vi.waitFor(async () => expect(await open()).toEqual([0, 0]));
	caller.destroy();
});

it("an answer that came before what stands behind broke off is still the caller's", async () => {
	const said = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\ngone";
	const { port, open } = await between((socket) =>
		socket.once("data", () => socket.write(said, () => setTimeout(() => socket.resetAndDestroy(), 50))),
	);
	const caller = asked(port);
	caller.write("GET / HTTP/1.1\r\n\r\n");
	expect(await text(caller)).toBe(said);
	await vi.waitFor(async () => expect(await open()).toEqual([0, 0]));
});

it("does not wait for ever for a caller who has all of his answer and does not close", async () => {
	const { port, open } = await between(answer);
	const caller = connect({ port, host: "127.0.0.1", allowHalfOpen: true }).on("error", () => {});
	caller.write("GET / HTTP/1.1\r\n\r\n");
	expect(await text(caller)).toBe(HEAD + BODY);
	await vi.waitFor(async () => expect(await open()).toEqual([0, 0]), { timeout: LINGER_MS + 2000 });
	caller.destroy();
});

it("takes as long as a slow caller does to hand on what a sender who has closed left", async () => {
	const { port, open } = await between(answer);
	const caller = asked(port);
	caller.pause().write("GET / HTTP/1.1\r\n\r\n");
	await sleep(LINGER_MS + 500);
	expect(await text(caller)).toBe(HEAD + BODY);
	await vi.waitFor(async () => expect(await open()).toEqual([0, 0]));
});

it("keeps no descriptor of hundreds of short connections", async () => {
	const script = join(import.meta.dirname, "testing", "callers.ts");
	const sockets = () => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;
	const server = fork(script, ["serve"]);
	try {
		const [inner] = await once(server, "message");
		const before = await front("127.0.0.1", 0, async () => new URL(`http://127.0.0.1:${inner}`));
		servers.push(before);
		const had = sockets();
		const [code] = await once(fork(script, ["call", String((before.address() as AddressInfo).port)]), "exit");
		expect(code).toBe(0);
		await vi.waitFor(() => expect(sockets()).toBe(had), { timeout: 5000 });
	} finally {
		server.kill();
	}
});
