/** The typed client, against edges on this machine: large pictures, streams that break, connections that do. */
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { follow, LostError, RefusedError, type ShownEvent } from "./client.ts";
import { createJobs, getJob } from "./job-client.ts";
import { MAX_IMAGE_BYTES } from "./limits.ts";

let server: Server | undefined;
afterEach(() => {
	server?.closeAllConnections();
	server?.close();
});

/** The address of an edge that answers like this. */
async function edge(answer: RequestListener): Promise<string> {
	server = createServer(answer).listen(0);
	await once(server, "listening");
	return `http://localhost:${(server.address() as AddressInfo).port}`;
}

const STREAM = { "content-type": "text/event-stream" };
const told = (type: string, id: string, data: object) =>
	`event: ${type}\n${id && `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`;
const scale = told("scale", "j.0", {
	type: "scale",
	index: 0,
	grid: [1, 1],
	stage: "semantic",
	step: 1,
	steps: 1,
	milliseconds: 1,
	mime: null,
	base64: null,
});
const final = (bytes: number) =>
	told("final", "j.1", {
		type: "final",
		seed: 1,
		width: 1,
		height: 1,
		milliseconds: 1,
		mime: "image/png",
		base64: Buffer.alloc(bytes, 7).toString("base64"),
		sha256: "0".repeat(64),
		digest: `sha256:${"0".repeat(64)}`,
		numerics: "n",
		adapter: "none",
	});

it("reads the largest picture that an event may carry, in however many pieces it comes", async () => {
	let connections = 0;
	const stream = `retry: 10\n\n${scale}${final(MAX_IMAGE_BYTES)}`;
	const url = await edge((_, response) => {
		connections++;
		response.writeHead(200, STREAM);
		for (let at = 0; at < stream.length; at += 500_000) response.write(stream.slice(at, at + 500_000));
		response.end();
	});
	const events: ShownEvent[] = await Array.fromAsync(follow({ job: "j" }, { url }));
	expect(events.map(({ type }) => type)).toEqual(["scale", "final"]);
	const last = events[1] as ShownEvent & { type: "final" };
	expect(Buffer.from(last.base64, "base64").equals(Buffer.alloc(MAX_IMAGE_BYTES, 7))).toBe(true);
	expect(connections).toBe(1);
});

it("says what the edge said of a stream that it could not go on with", async () => {
	const trouble = told("error", "", { type: "error", code: "internal", message: "Something is wrong here." });
	const url = await edge((_, response) => response.writeHead(200, STREAM).end(scale + trouble));
	const lost = Array.fromAsync(follow({ job: "j" }, { url, retries: 0 }));
	await expect(lost).rejects.toThrow(new LostError("The picture was lost after event 0: Something is wrong here."));
});

it("comes back where a connection breaks before it is answered, but not with a new picture", async () => {
	const seen: unknown[] = [];
	const url = await edge(({ headers }, response) => {
		seen.push(headers["last-event-id"]);
		// The first and the third one break; the second breaks off after a scale.
		if (seen.length % 2 === 1) response.destroy();
		else if (seen.length === 2)
			response.writeHead(200, STREAM).write(`retry: 10\n\n${scale}`, () => response.destroy());
		else response.writeHead(200, STREAM).end(final(3));
	});
	const events = await Array.fromAsync(follow({ job: "j" }, { url }));
	expect(events.map(({ type }) => type)).toEqual(["scale", "final"]);
	expect(seen).toEqual([undefined, undefined, "j.0", "j.0"]);
	await expect(Array.fromAsync(follow({ prompt: "a cat" }, { url }))).rejects.toThrow(LostError);
	expect(seen.length).toBe(5);
});

it("comes back to a job that is there where the edge is full, and takes its no for anything else", async () => {
	let asked = 0;
	const full = JSON.stringify({
		error: { message: "No room.", code: "overloaded", type: "server_error", param: null },
	});
	const url = await edge((_, response) => {
		const status = [503, 429, 200, 404][asked++];
		if (status === 200) response.writeHead(status, STREAM).end(`retry: 10\n\n${scale}${final(3)}`);
		else response.writeHead(status, { "content-type": "application/json", "retry-after": "0" }).end(full);
	});
	const events = await Array.fromAsync(follow({ job: "j" }, { url }));
	expect(events.map(({ type }) => type)).toEqual(["scale", "final"]);
	await expect(Array.fromAsync(follow({ job: "j" }, { url }))).rejects.toThrow(RefusedError);
	expect(asked).toBe(4);
	asked = 0;
	await expect(Array.fromAsync(follow({ prompt: "a cat" }, { url }))).rejects.toThrow(RefusedError);
	expect(asked).toBe(1);
});

it("sends a broken request again where it is done once all the same", async () => {
	let requests = 0;
	const url = await edge((request, response) => {
		if (++requests % 2 === 1) response.destroy();
		else if (request.method === "GET") response.writeHead(404).end();
		else response.end(JSON.stringify({ object: "list", data: [] }));
	});
	expect(await createJobs({ prompt: "a cat" }, { url }, "a-key")).toEqual([]);
	expect(requests).toBe(2);
	await expect(getJob("j", { url })).rejects.toMatchObject({ status: 404 });
	expect(requests).toBe(4);
	await expect(createJobs({ prompt: "a cat" }, { url })).rejects.toThrow(TypeError);
	expect(requests).toBe(5);
});
