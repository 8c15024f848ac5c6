/** A moderation service on this machine, in OpenAI's form, which judges and misbehaves by what it is asked about. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { TestProject } from "vitest/node";

export default async function setup(project: TestProject): Promise<() => void> {
	const server = createServer(async (request, response) => {
		const { input } = JSON.parse(await text(request)) as { input: string };
		// One that never answers.
		if (input.includes("slow")) return;
		const said = input.includes("odd") ? "{}" : JSON.stringify({ results: [{ flagged: input.includes("cruel") }] });
		const known = request.headers.authorization === "Bearer moderation-key";
		response
			.writeHead(known && !input.includes("broken") ? 200 : 500, { "content-type": "application/json" })
			.end(said);
	});
	server.listen(0, "127.0.0.1");
	await once(server, "listening");
	project.provide("moderation", `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/moderations`);
	return () => {
		server.closeAllConnections();
		server.close();
	};
}
