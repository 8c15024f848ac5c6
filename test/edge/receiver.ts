/** A server that webhooks come to: runs beside the edge's tests, in Node, and says what it was sent. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestProject } from "vitest/node";

export interface Received {
	path: string;
	headers: Record<string, string>;
	body: string;
}
declare module "vitest" {
	interface ProvidedContext {
		receiver: string;
	}
}

/**
 * GET lists what came to a path. POST answers by the path's statuses, `/<name>/500,500,200`: the first one to the first
 * message and so on, the last one to all others.
 */
export default async function receiver(project: TestProject): Promise<() => void> {
	const received = new Map<string, Received[]>();
	const server = createServer(async (request, response) => {
		const path = request.url ?? "/";
		const came = received.get(path) ?? [];
		if (request.method === "GET") return response.end(JSON.stringify(came));
		let body = "";
		for await (const chunk of request.setEncoding("utf8")) body += chunk;
		received.set(path, [...came, { path, headers: request.headers as Record<string, string>, body }]);
		const statuses = path.split("/")[2].split(",").map(Number);
		const status = statuses[Math.min(came.length, statuses.length - 1)];
		response.writeHead(status, status >= 300 && status < 400 ? { location: "/redirected/200" } : {}).end();
	});
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	project.provide("receiver", `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
	return () => server.close();
}
