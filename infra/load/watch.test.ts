/** What is looked at beside a run, of an edge on this machine that lies behind a path. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it, vi } from "vitest";
import { versionsOf, Watch } from "./watch.ts";

const health = { workers: [{ adapter: "a card", busy: 1, slots: 2 }], queue: 3 };
const models = { data: [{ id: "tiny", digest: "sha256:0" }] };

it("an edge behind a path is asked there, and looked at again where a proxy answered in its place", async () => {
	let asked = 0;
	const server = createServer(({ url }, response) => {
		if (url === "/there/v1/models") return response.end(JSON.stringify(models));
		if (url !== "/there/healthz") return response.writeHead(404).end("not here");
		if (++asked === 3) return response.writeHead(502).end("<h1>Bad gateway</h1>");
		response.end(JSON.stringify(health));
	}).listen(0, "127.0.0.1");
	await once(server, "listening");
	const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/there/`;
	const target = { url, keys: {}, timeoutMs: 1000 };
	expect(await versionsOf(target, new AbortController().signal)).toEqual({
		adapters: ["a card"],
		models: [{ id: "tiny", digest: "sha256:0" }],
	});
	const watch = new Watch(target, () => performance.now());
	await vi.waitUntil(() => asked >= 4, 5000);
	await watch.stop();
	server.close();
	expect(watch.samples.length).toBeGreaterThanOrEqual(asked - 3);
	expect(watch.samples[0]).toMatchObject({ busy: 1, slots: 2, queue: 3, workers: 1 });
});
