/** API keys: who is let in, to what, and whose a job is. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import OpenAI from "openai";
import { afterEach, describe, expect, inject, it, vi } from "vitest";
import { signTicket } from "../../worker/edge/auth/ticket.ts";
import app from "../../worker/edge/index.ts";
import { accountNamed } from "../../worker/edge/objects.ts";
import type { Env } from "../../worker/edge/settings.ts";
import { keyHash, keyId, type MintedKey, newKey } from "../../worker/protocol/api-key.ts";
import { ADMIN, Peer } from "./peer.ts";
import { everybodyLeaves, Reader } from "./reader.ts";

afterEach(everybodyLeaves);

const settings = { ...(env as unknown as Env), API_KEYS: "required" };
/** The edge as the world sees it. */
const ask = async (path: string, key?: string, init: RequestInit = {}, more: object = {}): Promise<Response> =>
	app.fetch(
		new Request(`https://edge.example${path}`, {
			...init,
			headers: { ...(key && { authorization: `Bearer ${key}` }), ...(init.headers as object) },
		}),
		{ ...settings, ...more } as never,
	);
const send = (path: string, key: string | undefined, body: unknown, more?: object, headers?: object) =>
	ask(
		path,
		key,
		{ method: "POST", headers: { "content-type": "application/json", ...headers }, body: JSON.stringify(body) },
		more,
	);
const mint = async (body: object = {}): Promise<MintedKey> => {
	const response = await send("/v1/admin/keys", ADMIN, { name: "test", ...body });
	expect(response.status).toBe(201);
	return response.json();
};
const codeOf = async (response: Response): Promise<[number, string]> => [
	response.status,
	((await response.json()) as { error: { code: string } }).error.code,
];

describe("a key", () => {
	it("is known by its form, without asking anybody", async () => {
		const { id, key } = newKey();
		expect(key).toMatch(/^fl_[0-9A-Za-z]{12}_[0-9A-Za-z]{38}$/);
		expect(keyId(key)).toBe(id);
		expect(newKey().key).not.toBe(key);
		// Every letter counts, the checksum's too.
		for (let at = 0; at < key.length; at++) {
			const other = key[at] === "a" ? "b" : "a";
			expect(keyId(key.slice(0, at) + other + key.slice(at + 1))).toBeNull();
		}
		for (const text of ["", "fl_", key.slice(1), `${key}0`, ` ${key}`, key.toUpperCase(), "x".repeat(10_000)])
			expect(keyId(text)).toBeNull();
	});

	it("is kept as its SHA-256 alone, and told once", async () => {
		const minted = await mint({ name: "studio", limits: { per_day: 7 }, expires_in_days: 2 });
		expect(minted).toMatchObject({
			name: "studio",
			scopes: ["generate", "read"],
			limits: { per_minute: 60, concurrent: 8, per_day: 7, weight: 1 },
			revoked: null,
		});
		expect(minted.expires! - minted.created).toBe(2 * 86_400);
		const list = await (await ask("/v1/admin/keys", ADMIN)).text();
		expect(list).toContain(minted.id);
		expect(list).not.toContain(minted.key);
		expect(list).not.toContain(await keyHash(minted.key));
	});

	it("opens what its scopes say, until it is revoked", async () => {
		await Peer.join({ automatic: true });
		const reads = await mint({ scopes: ["read"] });
		const keeps = await mint({ scopes: ["admin"] });
		const picture = { prompt: "x" };
		expect((await ask("/v1/models", reads.key)).status).toBe(200);
		expect(await codeOf(await send("/v1/images/generations", reads.key, picture))).toEqual([
			403,
			"insufficient_permissions",
		]);
		expect((await ask("/v1/admin/keys", reads.key)).status).toBe(403);
		expect((await send("/v1/images/generations", keeps.key, picture)).status).toBe(200);
		const revoked = await ask(`/v1/admin/keys/${reads.id}`, keeps.key, { method: "DELETE" });
		expect([revoked.status, (await revoked.json()).revoked]).toEqual([200, expect.any(Number)]);
		expect(await codeOf(await ask("/v1/models", reads.key))).toEqual([401, "invalid_api_key"]);
		expect(await codeOf(await ask("/v1/admin/keys/nope", keeps.key, { method: "DELETE" }))).toEqual([
			404,
			"key_not_found",
		]);
	});

	it.each([
		["none", undefined, "missing_api_key"],
		["an invented one", newKey().key, "invalid_api_key"],
		["a mistyped one", `${newKey().key.slice(0, -1)}!`, "invalid_api_key"],
		["another's", "sk-abcdefghijklmnop", "invalid_api_key"],
	])("%s is refused in OpenAI's words, before anything else is looked at", async (_, key, code) => {
		for (const [path, init] of [
			["/v1/images/preview?prompt=", {}],
			["/v1/images/generations", { method: "POST", body: "{broken" }],
			["/v1/models", {}],
			["/v1/policies", {}],
			["/v1/tickets", { method: "POST" }],
			["/v1/admin/keys", {}],
			[`/v1/jobs/${"ab".repeat(32)}`, { method: "DELETE" }],
		] as const) {
			const response = await ask(path, key, init);
			expect(response.headers.get("www-authenticate")).toMatch(/^Bearer/);
			expect(await codeOf(response)).toEqual([401, code]);
		}
	});

	it("is for the official client what OpenAI's is", async () => {
		await Peer.join({ automatic: true });
		const { key } = await mint();
		const client = (apiKey: string) =>
			new OpenAI({
				apiKey,
				baseURL: "https://edge.example/v1",
				maxRetries: 0,
				fetch: (input, init) => app.fetch(new Request(String(input), init as RequestInit), settings as never) as never,
			});
		const { data } = await client(key).images.generate({ model: "auto", prompt: "a red apple" });
		expect(data?.[0].b64_json).toBeTruthy();
		await expect(client(newKey().key).images.generate({ prompt: "x" })).rejects.toThrow(OpenAI.AuthenticationError);
	});
});

describe("a job", () => {
	it("is its key's alone: to another it is none", async () => {
		const peer = await Peer.join();
		const [mine, other] = [await mint(), await mint()];
		const answer = await ask("/v1/images/preview?prompt=x", mine.key);
		const reader = new Reader(answer);
		const plan = await reader.next();
		const { job } = plan!.data;
		const lease = await peer.next("lease");
		const unknown = "0".repeat(64);
		for (const id of [job, unknown]) {
			const follow = await ask(`/v1/images/preview?lastEventId=${id}`, other.key);
			expect(await codeOf(follow)).toEqual([404, "job_not_found"]);
			const branch = await ask(`/v1/images/preview?prompt=x&from=${id}&scales=1`, other.key);
			expect(await codeOf(branch)).toEqual([404, "job_not_found"]);
			for (const view of ["", "/events"])
				expect(await codeOf(await ask(`/v1/jobs/${id}${view}`, other.key))).toEqual([404, "job_not_found"]);
			for (const [kin, body] of [
				["refine", {}],
				["branch", { from: 1, count: 1 }],
			] as const)
				expect(await codeOf(await send(`/v1/jobs/${id}/${kin}`, other.key, body))).toEqual([404, "job_not_found"]);
			const stop = await ask(`/v1/jobs/${id}`, other.key, { method: "DELETE" });
			expect(await codeOf(stop)).toEqual([404, "job_not_found"]);
			// Nor is it told to whoever needs no key.
			const local = await app.fetch(new Request(`http://localhost/v1/images/preview?lastEventId=${id}`), env as never);
			expect(local.status).toBe(404);
		}
		await peer.finish(lease);
		expect((await reader.rest()).at(-1)!.event).toBe("final");
		const again = new Reader(await ask(`/v1/images/preview?lastEventId=${job}`, mine.key));
		expect((await again.rest()).map(({ event }) => event).at(-1)).toBe("final");
		expect(((await (await ask(`/v1/jobs/${job}`, mine.key)).json()) as { state: string }).state).toBe("done");
		expect((await ask(`/v1/jobs/${job}`, mine.key, { method: "DELETE" })).status).toBe(204);
	});
});

describe("without a key", () => {
	it("one is needed but where this machine speaks to itself", async () => {
		const at = (url: string, API_KEYS?: string, headers = {}) =>
			app.fetch(new Request(`${url}/v1/models`, { headers }), { ...settings, API_KEYS } as never);
		for (const url of ["http://localhost:8787", "http://127.0.0.1:8787", "http://[::1]:8787"]) {
			expect((await at(url, "none")).status).toBe(200);
			// What clients send who were told of none.
			expect((await at(url, "none", { authorization: "Bearer unused" })).status).toBe(200);
			expect((await at(url, "none", { authorization: `Bearer ${newKey().key}` })).status).toBe(401);
			expect((await at(url)).status).toBe(401);
			expect((await at(url, "required")).status).toBe(401);
		}
		// A name that leads to this machine, as a foreign page may have one, is not this machine.
		for (const url of ["http://edge.example", "http://127.example", "http://localhost.example", "http://10.0.0.1"])
			expect((await at(url, "none")).status).toBe(401);
	});

	it("nobody looks after keys", async () => {
		const local = (init: RequestInit = {}) =>
			app.fetch(new Request("http://localhost/v1/admin/keys", init), { ...settings, API_KEYS: "none" } as never);
		expect((await local()).status).toBe(403);
		expect((await local({ headers: { authorization: `Bearer ${ADMIN}` } })).status).toBe(200);
	});

	it("nothing is kept of an address that drew nothing, nor after a day of one that did", async () => {
		await Peer.join({ automatic: true });
		const more = { ANONYMOUS_PER_DAY: 2 };
		const ip = { "cf-connecting-ip": "192.0.2.77" };
		const name = `address ${(await keyHash("firstlight address 1\n192.0.2.77")).slice(0, 32)}`;
		const kept = () =>
			runInDurableObject(accountNamed(settings, name) as never, async (_, { storage }) => [
				[...(storage as unknown as DurableObjectState["storage"]).kv.list({ prefix: "taken" })].length,
				(await storage.getAlarm()) !== null,
			]);
		expect((await ask("/v1/models", undefined, { headers: ip }, more)).status).toBe(200);
		expect(await kept()).toEqual([0, false]);
		expect((await send("/v1/images/generations", undefined, { prompt: "x" }, more, ip)).status).toBe(200);
		expect(await kept()).toEqual([1, true]);
		const ring = () =>
			runInDurableObject(accountNamed(settings, name) as never, (object) =>
				(object as unknown as { alarm(): Promise<void> }).alarm(),
			);
		// An alarm of the day before: this one's pictures still count.
		await ring();
		expect(await kept()).toEqual([1, true]);
		vi.setSystemTime(Date.now() + 86_400_000);
		await ring();
		vi.useRealTimers();
		expect((await kept())[0]).toBe(0);
	});

	it("an address has so many pictures a day, one at a time", async () => {
		await Peer.join({ automatic: true });
		const more = { ANONYMOUS_PER_DAY: 2 };
		const from = (ip: string, path = "/v1/images/generations") =>
			send(path, undefined, { prompt: "x" }, more, { "cf-connecting-ip": ip });
		expect((await from("192.0.2.1")).headers.get("x-ratelimit-remaining-images")).toBe("1");
		expect((await send("/v1/images/generations", undefined, { prompt: "" }, more)).status).toBe(400);
		expect((await from("192.0.2.1")).status).toBe(200);
		const third = await from("192.0.2.1");
		expect(third.headers.get("x-should-retry")).toBe("false");
		expect(Number(third.headers.get("retry-after"))).toBeGreaterThan(0);
		expect(await codeOf(third)).toEqual([429, "insufficient_quota"]);
		expect((await from("192.0.2.2")).status).toBe(200);
		// Of a subscriber's /64 every address is the same one.
		expect((await from("2001:db8:1:2::1")).status).toBe(200);
		expect((await from("2001:db8:1:2:ffff::9")).status).toBe(200);
		expect((await from("2001:db8:1:2::3")).status).toBe(429);
		// However it is written; what is left of an IPv4 address in it is that address.
		for (const address of ["2001:db8::7", "2001:DB8:0:0:8::9"]) expect((await from(address)).status).toBe(200);
		expect((await from("2001:0db8::1:0:0:7")).status).toBe(429);
		for (const address of ["::ffff:192.0.2.3", "192.0.2.3"]) expect((await from(address)).status).toBe(200);
		expect((await from("::ffff:c000:203")).status).toBe(429);
		expect((await from("::ffff:192.0.2.4")).status).toBe(200);
		expect((await from("192.0.2.2", "/v1/admin/keys")).status).toBe(403);
		expect((await ask("/v1/models", newKey().key, {}, more)).status).toBe(401);
	});
});

describe("a ticket", () => {
	const ticketFor = async (key: string, body: object = {}) => {
		const response = await send("/v1/tickets", key, body);
		expect(response.status).toBe(201);
		return ((await response.json()) as { ticket: string }).ticket;
	};

	it("stands in for its key in an address, for one scope", async () => {
		await Peer.join({ automatic: true });
		const { key } = await mint();
		const ticket = await ticketFor(key);
		const reader = new Reader(await ask(`/v1/images/preview?prompt=x&ticket=${ticket}`));
		const events = await reader.rest();
		expect(events.at(-1)!.event).toBe("final");
		// The job is the key's.
		const again = new Reader(await ask(`/v1/images/preview?lastEventId=${events[0].data.job}`, key));
		expect(await again.rest()).toHaveLength(events.length);
		expect((await ask(`/v1/models?ticket=${ticket}`)).status).toBe(403);
		const reads = await ticketFor(key, { scope: "read" });
		expect((await ask(`/v1/models?ticket=${reads}`)).status).toBe(200);
		expect((await ask(`/v1/images/preview?prompt=x&ticket=${reads}`)).status).toBe(403);
		expect((await send(`/v1/images/generations?ticket=${ticket}`, undefined, { prompt: "x" })).status).toBe(401);
	});

	it("stands in for an address without a key, too, and for nothing where the admin's secret asks", async () => {
		await Peer.join({ automatic: true });
		const more = { ANONYMOUS_PER_DAY: 1 };
		const ip = { "cf-connecting-ip": "192.0.2.50" };
		const { ticket } = (await (await send("/v1/tickets", undefined, {}, more, ip)).json()) as { ticket: string };
		const draw = (more: object) => ask(`/v1/images/preview?prompt=x&ticket=${ticket}`, undefined, {}, more);
		expect((await new Reader(await draw(more)).rest()).at(-1)!.event).toBe("final");
		expect(await codeOf(await draw(more))).toEqual([429, "insufficient_quota"]);
		expect(await codeOf(await ask(`/v1/models?ticket=${ticket}`, undefined, {}, more))).toEqual([
			403,
			"insufficient_permissions",
		]);
		expect(await codeOf(await draw({}))).toEqual([401, "invalid_api_key"]);
		expect(await codeOf(await send("/v1/tickets", ADMIN, {}))).toEqual([403, "insufficient_permissions"]);
	});

	it("is no better than its key", async () => {
		const { key, id } = await mint({ scopes: ["read"] });
		expect((await send("/v1/tickets", key, { scope: "generate" })).status).toBe(403);
		expect((await send("/v1/tickets", key, { scope: "admin" })).status).toBe(400);
		const ticket = await ticketFor(key, { scope: "read" });
		await ask(`/v1/admin/keys/${id}`, ADMIN, { method: "DELETE" });
		expect(await codeOf(await ask(`/v1/models?ticket=${ticket}`))).toEqual([401, "invalid_api_key"]);
	});

	it("that is forged, cut, over or of nobody is refused", async () => {
		const { key, id } = await mint();
		const ticket = await ticketFor(key, { scope: "read" });
		const [head, , mac] = ticket.split(".");
		const forged = btoa(JSON.stringify({ sub: "", scope: "read", aud: "firstlight ticket", exp: 9e9 }));
		const none = btoa(JSON.stringify({ alg: "none" })).replaceAll("=", "");
		const past = await signTicket({ ...settings, TICKET_SECONDS: 1 }, id, "read");
		const foreign = await signTicket({ ...settings, ADMIN_SECRET: "another-secret-0123456789" }, id, "read");
		const nobody = await signTicket(settings, null, "read");
		await new Promise((resolve) => setTimeout(resolve, 2100));
		for (const bad of [
			"",
			"x",
			ticket.slice(0, -2),
			`${head}.${forged}.${mac}`,
			`${none}.${forged}.`,
			past,
			foreign,
			nobody,
		])
			expect((await ask(`/v1/models?ticket=${encodeURIComponent(bad)}`)).status).toBe(401);
		expect((await ask(`/v1/models?ticket=${ticket}`)).status).toBe(200);
	});
});

describe("pages of other origins", () => {
	it("may ask where they are listed", async () => {
		const from = (origin: string, CORS_ORIGINS: string) =>
			app.fetch(new Request("https://edge.example/healthz", { headers: { origin } }), {
				...settings,
				CORS_ORIGINS,
			} as never);
		const allowed = async (origin: string, list: string) =>
			(await from(origin, list)).headers.get("access-control-allow-origin");
		expect(await allowed("https://a.example", "*")).toBe("*");
		expect(await allowed("https://a.example", "https://a.example, https://b.example")).toBe("https://a.example");
		expect(await allowed("https://b.example", "https://a.example, https://b.example")).toBe("https://b.example");
		for (const origin of ["https://c.example", "http://a.example", "https://a.example.evil", "null"])
			expect(await allowed(origin, "https://a.example")).toBeNull();
		expect((await from("https://a.example", "https://a.example")).headers.get("vary")).toMatch(/origin/i);
	});
});

describe("a moderation service", () => {
	const asked = async (prompt: string, more: object = {}) => {
		const { key } = await mint();
		return send(
			"/v1/images/generations",
			key,
			{ prompt },
			{
				MODERATION_URL: inject("moderation"),
				MODERATION_KEY: "moderation-key",
				MODERATION_SECONDS: prompt === "slow" ? 0.3 : 10,
				...more,
			},
		);
	};

	it("is asked before anything is queued", async () => {
		const peer = await Peer.join();
		expect(await codeOf(await asked("a cruel thing"))).toEqual([400, "moderation_blocked"]);
		expect(peer.inbox).toEqual([]);
		const fine = asked("a red apple");
		await peer.finish(await peer.next("lease"));
		expect((await fine).status).toBe(200);
	});

	it.each(["slow", "broken", "odd"])("that is %s refuses, or lets through, as it is set", async (prompt) => {
		await Peer.join({ automatic: true });
		const refused = await asked(prompt);
		expect(refused.headers.get("retry-after")).toBe("5");
		expect(await codeOf(refused)).toEqual([503, "moderation_unavailable"]);
		expect((await asked(prompt, { MODERATION_FAILS: "open" })).status).toBe(200);
	});

	it("whose secret is wrong, or that is not there, refuses", async () => {
		await Peer.join({ automatic: true });
		expect((await asked("x", { MODERATION_KEY: "wrong" })).status).toBe(503);
		expect((await asked("x", { MODERATION_URL: "http://127.0.0.1:9/" })).status).toBe(503);
	});
});
