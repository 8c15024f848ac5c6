/** Requests as they come in from the world: paths, encodings, sizes, headers; and what the API says of itself. */
import { env } from "cloudflare:workers";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import app from "../../worker/edge/index.ts";
import { post } from "./client.ts";
import { edge, MODEL, Peer } from "./peer.ts";
import { everybodyLeaves, Reader } from "./reader.ts";

/** Asked before all others, since it takes ten seconds: of a pool that never answers. */
let asked: Promise<Response>;
beforeAll(() => {
	const silent = { idFromName: () => "x", get: () => ({ status: () => new Promise(() => {}) }) };
	const settings = { ...(env as object), POOL: silent };
	asked = Promise.resolve(app.fetch(new Request("http://localhost/healthz"), settings as never));
});
afterEach(everybodyLeaves);

const json = { "content-type": "application/json" };
const codeOf = async (response: Response) => ((await response.json()) as { error: { code: string } }).error.code;
const packed = async (text: string, format: CompressionFormat) =>
	new Uint8Array(
		await new Response(new Blob([text]).stream().pipeThrough(new CompressionStream(format))).arrayBuffer(),
	);
const send = (body: Uint8Array<ArrayBuffer> | string, headers: Record<string, string> = {}) =>
	edge("/v1/images/generations", { method: "POST", headers: { ...json, ...headers }, body });

describe("paths", () => {
	it.each(["/v1//images/generations", "/v1/images/generations/", "//v1///images//generations//"])(
		"%s is served",
		async (path) => {
			await Peer.join({ automatic: true });
			expect((await post({ prompt: "x" }, json, path)).status).toBe(200);
		},
	);
	it.each([
		["/v1//models/", 200],
		[`/v1/models/${MODEL.id}/`, 200],
		["/healthz/", 200],
	] as const)("%s is served", async (path, status) => {
		await Peer.join();
		expect((await edge(path)).status).toBe(status);
	});

	it.each([
		["/images/generations", "/v1/images/generations"],
		["/v1/v1/images/generations", "/v1/images/generations"],
		["/models", "/v1/models"],
		["/models/tiny", "/v1/models/tiny"],
		["//images//preview/", "/v1/images/preview"],
	])("%s says that %s is meant", async (path, meant) => {
		for (const method of ["GET", "POST"]) {
			const response = await edge(path, { method });
			expect(response.status).toBe(404);
			expect(await response.json()).toMatchObject({
				error: { code: "not_found", message: expect.stringContaining(`Did you mean ${meant}?`) },
			});
		}
	});

	it.each(["/nope", "/v1/nope", "/", "/v1", "/v1/images/edits"])("%s says where the routes are", async (path) => {
		const response = await edge(path);
		expect(response.status).toBe(404);
		expect(await response.json()).toMatchObject({ error: { message: expect.stringContaining("/docs lists") } });
	});
});

describe("encodings", () => {
	it("text that is not UTF-8 is refused, not guessed", async () => {
		const peer = await Peer.join();
		const latin1 = Uint8Array.from('{"prompt":"caf\u00e9"}', (char) => char.charCodeAt(0));
		const cut = new TextEncoder().encode('{"prompt":"é').slice(0, -1);
		for (const body of [latin1, cut]) {
			const response = await send(body);
			expect([response.status, await codeOf(response)]).toEqual([400, "invalid_encoding"]);
		}
		for (const [query, param] of [
			["prompt=caf%E9", "prompt"],
			["prompt=caf%e9%20au%20lait", "prompt"],
			["prompt=%EF%BF%BD", "prompt"],
			["prompt=x&model=%ff", "model"],
			["%E9=x&prompt=x", "the query"],
		]) {
			const response = await edge(`/v1/images/preview?${query}`);
			expect([query, response.status]).toEqual([query, 400]);
			expect(await response.json()).toMatchObject({ error: { code: "invalid_encoding", param } });
		}
		expect(peer.inbox).toEqual([]);
	});

	it("a query is read as a form is", async () => {
		const peer = await Peer.join();
		for (const [query, prompt] of [
			["prompt=caf%C3%A9+au%20lait", "café au lait"],
			["prompt=100%+wool", "100% wool"],
			["prompt=a=b&", "a=b"],
			["prompt=what?", "what?"],
			["&prompt=x%26y", "x&y"],
		]) {
			const reader = await Reader.open(`/v1/images/preview?${query}`);
			const lease = await peer.next("lease");
			expect(lease.request.prompt).toBe(prompt);
			await peer.finish(lease);
			await reader.rest();
		}
	});

	it.each(["gzip", "x-gzip", "deflate"])("a body in %s is read", async (coding) => {
		const peer = await Peer.join();
		const text = '{"prompt":"a red apple"}';
		const answer = send(await packed(text, coding === "deflate" ? "deflate" : "gzip"), { "content-encoding": coding });
		const lease = await peer.next("lease");
		expect(lease.request.prompt).toBe("a red apple");
		await peer.finish(lease);
		expect((await answer).status).toBe(200);
	});

	it("a packed body is held within the limit as well, and one that is not packed as it says is refused", async () => {
		await Peer.join();
		const bomb = await packed(" ".repeat(50_000_000), "gzip");
		expect(bomb.length).toBeLessThan(65_536);
		const response = await send(bomb, { "content-encoding": "gzip" });
		expect([response.status, await codeOf(response)]).toEqual([413, "request_too_large"]);
		for (const body of [new TextEncoder().encode('{"prompt":"x"}'), bomb.slice(0, 1000)]) {
			const broken = await send(body, { "content-encoding": "gzip" });
			expect([400, 413]).toContain(broken.status);
		}
	});

	it.each(["br", "zstd", "gzip, gzip", "rot13", "constructor"])(
		"a body in %s is a 415 that says what is read",
		async (coding) => {
			const response = await send('{"prompt":"x"}', { "content-encoding": coding });
			expect([response.status, response.headers.get("accept-encoding"), await codeOf(response)]).toEqual([
				415,
				"gzip, deflate, identity",
				"unsupported_content_encoding",
			]);
		},
	);

	it.each([
		["application/json; charset=utf-8", 200],
		['application/json;charset="UTF-8"', 200],
		["Application/JSON", 200],
		["application/json; charset=iso-8859-1", 415],
		["application/json; charset=utf-16", 415],
	] as const)("of content type %s: %i", async (type, status) => {
		await Peer.join({ automatic: true });
		expect((await post({ prompt: "x" }, { "content-type": type })).status).toBe(status);
	});
});

describe("limits", () => {
	it("of addresses and headers are real", async () => {
		const peer = await Peer.join();
		const url = await edge(`/v1/images/preview?prompt=x&model=${"x".repeat(48 * 1024)}`);
		expect([url.status, await codeOf(url)]).toEqual([414, "uri_too_long"]);
		const headers = await edge("/healthz", { headers: { cookie: "x".repeat(16 * 1024) } });
		expect([headers.status, await codeOf(headers)]).toEqual([431, "headers_too_large"]);
		// The longest prompt and plan that are taken fit.
		const plan = JSON.stringify({ steps: "€".repeat(8000) });
		const longest = new URLSearchParams({ prompt: "€".repeat(2000), plan: plan.slice(0, 3000) });
		expect((await edge(`/v1/images/preview?${longest}`)).status).toBe(400);
		expect(peer.inbox).toEqual([]);
	});

	it("a body that does not come is not waited for", async () => {
		const begun = new ReadableStream({
			start: (controller) => controller.enqueue(new TextEncoder().encode('{"prompt":')),
		});
		const request = new Request("http://localhost/v1/images/generations", {
			method: "POST",
			headers: json,
			body: begun,
			duplex: "half",
		} as RequestInit);
		const response = await app.fetch(request, { ...(env as object), BODY_SECONDS: 0.2 } as never);
		expect([response.status, await codeOf(response)]).toEqual([408, "request_timeout"]);
	});

	it.each([
		["of which nothing comes", 0],
		["that stops on the way", 100_000],
	])("a body that nobody asked for, %s, does not keep the answer back", async (_, bytes) => {
		const body = new ReadableStream({
			start: (controller) => (bytes > 0 ? controller.enqueue(new Uint8Array(bytes)) : undefined),
		});
		const begun = Date.now();
		const response = await edge("/v1/nothing", { method: "POST", headers: json, body });
		expect(response.status).toBe(404);
		expect(Date.now() - begun).toBeLessThan(5000);
	});

	it("a deep body is refused like any other", async () => {
		await Peer.join();
		const deep = `{"prompt":"x","plan":${"[".repeat(30_000)}${"]".repeat(30_000)}}`;
		const response = await send(deep);
		expect([response.status, await codeOf(response)]).toEqual([400, "invalid_plan"]);
	});
});

describe("headers", () => {
	it("every answer has them, errors and events too", async () => {
		await Peer.join();
		const answers = [
			await edge("/healthz"),
			await edge("/nope"),
			await edge("/v1/models"),
			await edge("/internal/pool/connect"),
			await edge("/v1/images/preview"),
			(await Reader.open("/v1/images/preview?prompt=x")).response,
		];
		for (const { headers, url } of answers)
			expect([url, Object.fromEntries(headers)]).toMatchObject([
				url,
				{
					"x-request-id": expect.stringMatching(/^[0-9a-f-]{36}$/),
					"x-content-type-options": "nosniff",
					"x-frame-options": "DENY",
					"referrer-policy": "no-referrer",
					"content-security-policy": expect.stringContaining("default-src 'none'"),
				},
			]);
	});

	it("a caller's request id is kept where it is one", async () => {
		const idOf = async (id: string) =>
			(await edge("/nope", { headers: { "x-request-id": id } })).headers.get("x-request-id");
		expect(await idOf("mine-7")).toBe("mine-7");
		expect(await idOf('"; drop')).toMatch(/^[0-9a-f-]{36}$/);
		expect(await idOf("x".repeat(65))).toMatch(/^[0-9a-f-]{36}$/);
	});

	it.each(["/healthz", "/openapi.json", "/v1/models"])("pages elsewhere may read %s", async (path) => {
		const headers = { origin: "https://a.example" };
		const response = await edge(path, { headers });
		expect(response.headers.get("access-control-allow-origin")).toBe("*");
		expect(response.headers.get("access-control-expose-headers")).toContain("warning");
		expect(response.headers.get("access-control-expose-headers")).toContain("idempotent-replayed");
		const preflight = await edge(path, {
			method: "OPTIONS",
			headers: { ...headers, "access-control-request-method": "GET" },
		});
		expect([preflight.status, preflight.headers.get("access-control-allow-origin")]).toEqual([204, "*"]);
	});
});

describe("the OpenAPI document", () => {
	interface Described {
		parameters: { name: string; in: string }[];
		requestBody?: { required: boolean };
		responses: object;
	}
	interface Document {
		openapi: string;
		paths: Record<string, Record<string, Described>>;
		components: { schemas: Record<string, object> };
	}
	const document = async () => (await (await edge("/openapi.json")).json()) as Document;

	it("has every route that is not for workers alone, and no other", async () => {
		const { openapi, paths } = await document();
		expect(openapi).toBe("3.1.1");
		const documented = Object.entries(paths).flatMap(([path, methods]) =>
			Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
		);
		const served = app.routes
			.filter(({ method, path }) => ["GET", "POST", "DELETE"].includes(method) && !path.startsWith("/internal"))
			.map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, "{$1}")}`);
		expect(documented.sort()).toEqual([...new Set(served)].sort());
		for (const [path, methods] of Object.entries(paths))
			for (const { parameters } of Object.values(methods))
				expect(parameters.filter((one) => one.in === "path").map(({ name }) => `{${name}}`)).toEqual(
					path.match(/\{\w+\}/g) ?? [],
				);
	});

	it("says where a body may be left out", async () => {
		const { paths } = await document();
		const required = (route: string) => paths[`/v1/jobs${route}`].post.requestBody?.required;
		expect(["", "/{job}/refine", "/{job}/branch"].map(required)).toEqual([true, false, true]);
	});

	it("refers to schemas that are there", async () => {
		const text = JSON.stringify(await document());
		const { schemas } = JSON.parse(text).components;
		for (const [, name] of text.matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g))
			expect(schemas).toHaveProperty(name);
		expect(text.match(/"\$ref":"(?!#\/components\/schemas\/)/)).toBeNull();
	});

	it("describes the answers as they are", async () => {
		await Peer.join({ automatic: true });
		const { components } = await document();
		const read = (name: string, value: unknown) =>
			z.fromJSONSchema(components.schemas[name] as Parameters<typeof z.fromJSONSchema>[0]).parse(value);
		const body = { prompt: "a red apple", size: "64x64", seed: 7, n: null };
		const answer = await (await post(body)).json();
		read("GenerationRequest", { prompt: "a red apple", size: "64x64", seed: -1, style: "vivid" });
		read("GenerationAnswer", answer);
		read("Models", await (await edge("/v1/models")).json());
		read("Model", await (await edge(`/v1/models/${MODEL.id}`)).json());
		read("Policies", await (await edge("/v1/policies")).json());
		read("Health", await (await edge("/healthz")).json());
		read("Error", await (await edge("/v1/models/nope")).json());
		for (const { event, data } of await (await Reader.open("/v1/images/preview?prompt=x")).rest())
			read(`${event[0].toUpperCase()}${event.slice(1)}Event`, data);
		expect(() => read("GenerationRequest", { prompt: "x", steps: 20 })).toThrow();
		expect(() => read("Error", answer)).toThrow();
	});

	it("can be read by people", async () => {
		const response = await edge("/docs");
		expect(response.headers.get("content-type")).toMatch(/^text\/html/);
		const page = await response.text();
		const nonce = /<style nonce="([^"]+)">/.exec(page)![1];
		expect(response.headers.get("content-security-policy")).toContain(`style-src 'nonce-${nonce}'`);
		for (const path of Object.keys((await document()).paths)) expect(page).toContain(path);
		expect(page).toContain("-1 or none, a random one");
		expect(page).not.toMatch(/<script|undefined|\[object/);
	});
});

it("the edge answers within a while, or says that it does not", async () => {
	const response = await asked;
	expect([response.status, await codeOf(response)]).toEqual([504, "http_error"]);
}, 20_000);
