/** What a worker that loads says to the edge. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it } from "vitest";
import { LOADING_PATH } from "../protocol/messages.ts";
import { LoadingNews } from "./loading-news.ts";
import { readSettings } from "./settings.ts";

it("is said where the worker will dial: to the pool of its region", async () => {
	const said = Promise.withResolvers<string | undefined>();
	const server = createServer((request, response) => {
		if (request.url?.startsWith(LOADING_PATH)) said.resolve(request.url);
		response.end(JSON.stringify({ token: "token", expires: Math.ceil(Date.now() / 1000) + 600, models: {} }));
	}).listen(0, "127.0.0.1");
	await once(server, "listening");
	const EDGE_URL = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
	const news = new LoadingNews(readSettings({ EDGE_URL, WORKER_SECRET: "0123456789abcdef", REGION: "EU" }));
	news.say("tiny", "weights", 1, 2);
	expect(await said.promise).toBe(`${LOADING_PATH}?region=EU`);
	news.stop();
	server.close();
});
