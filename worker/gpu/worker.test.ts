/** The GPU worker against an edge made for the purpose, which says what a real one says once in a thousand times. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test, vi } from "vitest";
import { VERSIONS, WorkerMessage } from "../protocol/messages.ts";
import { readSettings } from "./settings.ts";
import { accepted } from "./testing/socket.ts";
import { GpuWorker } from "./worker.ts";

test("a cancel that crosses the worker's own word, and a lease that it cannot read, are answered", async () => {
	const said: WorkerMessage[] = [];
	const server = createServer((_, response) => {
		const expires = Math.floor(Date.now() / 1000) + 3600;
		response.setHeader("content-type", "application/json").end(JSON.stringify({ token: "token", expires, models: {} }));
	}).listen(0, "127.0.0.1");
	server.on("upgrade", (request, socket) => {
		socket.on("error", () => {});
		const { say, hear } = accepted(request, socket);
		hear((message) => {
			said.push(WorkerMessage.parse(message));
			if (message.type !== "hello") return;
			say({ type: "welcome", version: VERSIONS.max, heartbeatSeconds: 10 });
			say({ type: "cancel", job: "gone", attempt: 2 });
			say({ type: "lease", job: "strange", attempt: 1 });
		});
	});
	await once(server, "listening");
	const log: string[] = [];
	const worker = await GpuWorker.start(
		readSettings({
			EDGE_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
			WORKER_SECRET: "0123456789abcdef",
			MODELS: "tiny",
		}),
		(line) => log.push(line),
	);
	await vi.waitFor(() => expect(said).toHaveLength(3), { timeout: 10_000 });
	expect(said.slice(1)).toEqual([
		{ type: "release", job: "gone", attempt: 2, outcome: "done", cause: "failed", reason: "" },
		expect.objectContaining({ type: "release", job: "strange", attempt: 1, outcome: "handed-back" }),
	]);
	await worker.drain();
	expect(await worker.ended).toBe(0);
	server.closeAllConnections();
	server.close();
});
