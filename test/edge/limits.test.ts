/** What a key may take, at the door and in the queue. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import app from "../../worker/edge/index.ts";
import { accountNamed, poolNamed } from "../../worker/edge/objects.ts";
import { type Env, settingsOf } from "../../worker/edge/settings.ts";
import { DEFAULT_LIMITS, keyId, type MintedKey } from "../../worker/protocol/api-key.ts";
import { CONNECT_PATH } from "../../worker/protocol/messages.ts";
import { ADMIN, Peer, workerToken } from "./peer.ts";
import { everybodyLeaves, Reader, until } from "./reader.ts";

afterEach(everybodyLeaves);

const settings = { ...(env as unknown as Env), API_KEYS: "required" };
const ask = async (path: string, key: string, init: RequestInit = {}): Promise<Response> =>
	app.fetch(
		new Request(`https://edge.example${path}`, {
			...init,
			headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
		}),
		settings as never,
	);
const post = (path: string, key: string, body: unknown) =>
	ask(path, key, { method: "POST", body: JSON.stringify(body) });
const draw = (key: string, body: object = {}) => post("/v1/images/generations", key, { prompt: "x", ...body });
const mint = async (limits: object = {}): Promise<string> => {
	const minted: MintedKey = await (await post("/v1/admin/keys", ADMIN, { name: "test", limits })).json();
	return minted.key;
};
const refusal = async (response: Response) => {
	const { error } = (await response.json()) as { error: { code: string; type: string } };
	return [response.status, error.code, error.type];
};

describe("a key", () => {
	it("has so many requests a minute, and says how many are left", async () => {
		const key = await mint({ per_minute: 3 });
		for (const left of ["2", "1", "0"]) {
			const response = await ask("/v1/models", key);
			expect([response.status, response.headers.get("x-ratelimit-remaining-requests")]).toEqual([200, left]);
			expect(response.headers.get("ratelimit-policy")).toBe('"requests";q=3;w=60, "images";q=1000;w=86400');
		}
		const refused = await ask("/v1/models", key);
		expect(refused.headers.get("ratelimit")).toMatch(/^"requests";r=0;t=\d+, "images";r=1000;t=\d+$/);
		expect(refused.headers.get("retry-after")).toBe("20");
		expect(await refusal(refused)).toEqual([429, "rate_limit_exceeded", "requests"]);
		expect((await ask("/v1/models", await mint())).status).toBe(200);
	});

	it("has so many pictures a day, of which those count that were queued", async () => {
		const key = await mint({ per_day: 3 });
		await Peer.join({ automatic: true });
		const left = async (response: Promise<Response>) => (await response).headers.get("x-ratelimit-remaining-images");
		expect(await left(draw(key))).toBe("2");
		// What is refused for its own fault gives the picture back.
		for (const body of [{ prompt: "" }, { model: "none" }, { policy: "none" }])
			expect((await draw(key, body)).ok).toBe(false);
		expect(await left(ask("/v1/models", key))).toBe("2");
		expect(await refusal(await draw(key, { n: 3 }))).toEqual([429, "insufficient_quota", "insufficient_quota"]);
		expect(await left(draw(key, { n: 2 }))).toBe("0");
		expect(await left(ask("/v1/models", key))).toBe("0");
		expect(await refusal(await draw(key))).toEqual([429, "insufficient_quota", "insufficient_quota"]);
	});

	it("is told at once that more than it may ever have at once will not do later either", async () => {
		const key = await mint({ concurrent: 2 });
		await Peer.join({ automatic: true });
		expect(await refusal(await draw(key, { n: 3 }))).toEqual([400, "too_many_pictures", "invalid_request_error"]);
		expect((await draw(key, { n: 2 })).status).toBe(200);
	});

	it("comes back to a picture though its day is over", async () => {
		const key = await mint({ per_day: 1 });
		await Peer.join({ automatic: true });
		const events = await new Reader(await ask("/v1/images/preview?prompt=x", key)).rest();
		const again = await ask(`/v1/images/preview?lastEventId=${events[0].data.job}`, key);
		expect(await new Reader(again).rest()).toHaveLength(events.length);
		expect((await ask("/v1/images/preview?prompt=x", key)).status).toBe(429);
	});

	it("is answered again under an Idempotency-Key though its day is over", async () => {
		const key = await mint({ per_day: 1 });
		await Peer.join({ automatic: true });
		const send = async (once: string): Promise<Response> => {
			const headers = { authorization: `Bearer ${key}`, "content-type": "application/json", "idempotency-key": once };
			const init = { method: "POST", headers, body: '{"prompt":"x","cache":false}' };
			return app.fetch(new Request("https://edge.example/v1/jobs", init), settings as never);
		};
		const [first, again] = [await send("one"), await send("one")];
		expect([first.status, again.status, again.headers.get("idempotent-replayed")]).toEqual([201, 201, "true"]);
		expect(await again.json()).toEqual(await first.json());
		// Under a key of its own it is another picture.
		expect(await refusal(await send("two"))).toEqual([429, "insufficient_quota", "insufficient_quota"]);
	});

	it("has so many pictures at once", async () => {
		const key = await mint({ concurrent: 2 });
		const peer = await Peer.join();
		const readers = [0, 1].map(async () => new Reader(await ask("/v1/images/preview?prompt=x", key)));
		await Promise.all(readers);
		const refused = await draw(key);
		expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
		expect(await refusal(refused)).toEqual([429, "rate_limit_exceeded", "requests"]);
		expect((await ask("/v1/images/preview?prompt=x", await mint({ concurrent: 1 }))).status).toBe(200);
		await peer.finish(await peer.next("lease"));
		await peer.next("lease");
		const next = new Reader(await ask("/v1/images/preview?prompt=x", key));
		expect(next.response.status).toBe(200);
		await Promise.all([...(await Promise.all(readers)), next].map((reader) => reader.leave()));
	});
});

describe("pictures", () => {
	const made: { id: string; key: string }[] = [];
	const jobs = async (key: string, body: object = {}) => {
		const response = await post("/v1/jobs", key, { prompt: "x", cache: false, ...body });
		if (response.status === 201) made.push(...(await idsOf(response.clone() as Response)).map((id) => ({ id, key })));
		return response;
	};
	// Nobody reads them, and they would wait on.
	afterEach(async () => {
		await Promise.all(made.splice(0).map(({ id, key }) => ask(`/v1/jobs/${id}`, key, { method: "DELETE" })));
	});
	const idsOf = async (response: Response) =>
		((await response.json()) as { data: { id: string }[] }).data.map(({ id }) => id);

	it("of a request are counted all at once, before any is queued, whoever asks in between", async () => {
		const key = await mint({ per_day: 5 });
		const peer = await Peer.join({ slots: 8 });
		const answers = await Promise.all(Array.from({ length: 4 }, () => jobs(key, { n: 2 })));
		expect(answers.map(({ status }) => status).sort()).toEqual([201, 201, 429, 429]);
		for (const refused of answers.filter(({ status }) => status === 429))
			expect(await refusal(refused)).toEqual([429, "insufficient_quota", "insufficient_quota"]);
		for (let i = 0; i < 4; i++) await peer.next("lease");
		expect((await ask("/v1/models", key)).headers.get("x-ratelimit-remaining-images")).toBe("1");
		expect(peer.inbox).toEqual([]);
	});

	it("that nobody takes are given back, and their places with them", async () => {
		const key = await mint({ per_day: 9, concurrent: 9 });
		await Peer.join();
		expect(await refusal(await jobs(key, { n: 9 }))).toEqual([400, "invalid_value", "invalid_request_error"]);
		expect((await jobs(key, { n: 1 })).status).toBe(201);
		expect((await jobs(key, { n: 2 })).status).toBe(201);
		const full = await jobs(key, { n: 2 });
		expect(full.headers.get("x-ratelimit-remaining-images")).toBe("6");
		expect(await refusal(full)).toEqual([503, "queue_full", "server_error"]);
		expect((await jobs(await mint(), { n: 1 })).headers.get("x-ratelimit-remaining-images")).toBe("999");
	});

	const never = async (response: Response) => {
		const { error } = (await response.json()) as { error: { message: string; param: string } };
		return [response.status, error.param, error.message.split(": more")[0]];
	};

	it("that can never wait together are told so, and how many can", async () => {
		const key = await mint({ concurrent: 9 });
		await Peer.join();
		// Of four places one key may have two at a time.
		for (const n of [3, 9]) expect(await never(await jobs(key, { n }))).toEqual([400, "n", "n: must be at most 2"]);
	});

	it("that are more than can wait begin where a slot is free for each, and come again where one is not", async () => {
		const key = await mint({ concurrent: 9 });
		await Peer.join({ slots: 3 });
		expect((await jobs(key, { n: 3 })).status).toBe(201);
		expect(await refusal(await jobs(key, { n: 3 }))).toEqual([503, "queue_full", "server_error"]);
		expect(await never(await jobs(key, { n: 4 }))).toEqual([400, "n", "n: must be at most 3"]);
	});

	it("are no more than there are slots where nobody may wait", async () => {
		const key = await mint({ concurrent: 9 });
		await Peer.join({ slots: 2 });
		const limit = (jobs: number) =>
			runInDurableObject(poolNamed(settings, "default") as never, (object: { env: Env }) => {
				settingsOf(object.env).QUEUE_LIMIT = jobs;
			});
		await limit(0);
		try {
			expect(await never(await jobs(key, { n: 3 }))).toEqual([400, "n", "n: must be at most 2"]);
			expect((await jobs(key, { n: 2 })).status).toBe(201);
			expect(await refusal(await jobs(key, { n: 1 }))).toEqual([503, "queue_full", "server_error"]);
		} finally {
			await limit(settingsOf(settings).QUEUE_LIMIT);
		}
	});

	it("at once are counted over all pools", async () => {
		const key = await mint({ concurrent: 2 });
		const twoPools = { ...settings, POOLS: '[{"name":"left","near":["EU"]},{"name":"right","near":["AS"]}]' };
		const from = async (continent: string, key: string): Promise<Response> => {
			const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
			const init = { method: "POST", headers, body: '{"prompt":"x","cache":false}', cf: { continent } };
			return app.fetch(new Request("https://edge.example/v1/jobs", init as RequestInit), twoPools as never);
		};
		for (const [worker, region] of [
			["l", "EU"],
			["r", "AS"],
		]) {
			const headers = { upgrade: "websocket", authorization: `Bearer ${await workerToken(worker)}` };
			const dial = new Request(`https://edge.example${CONNECT_PATH}?region=${region}`, { headers });
			await new Peer((await app.fetch(dial, twoPools as never)).webSocket!, { worker, slots: 4 }).admitted();
		}
		const first = await from("EU", key);
		const [id] = await idsOf(first);
		expect([first.status, (await from("AS", key)).status]).toEqual([201, 201]);
		for (const continent of ["EU", "AS"])
			expect(await refusal(await from(continent, key))).toEqual([429, "rate_limit_exceeded", "requests"]);
		expect((await from("EU", await mint({ concurrent: 1 }))).status).toBe(201);
		await app.fetch(
			new Request(`https://edge.example/v1/jobs/${id}`, {
				method: "DELETE",
				headers: { authorization: `Bearer ${key}` },
			}),
			twoPools as never,
		);
		expect((await from("AS", key)).status).toBe(201);
	});

	it("whose end was not heard do not keep their place", async () => {
		const key = await mint({ concurrent: 1 });
		await Peer.join({ automatic: true });
		const [done] = await idsOf(await jobs(key));
		await until(
			async () => ((await (await ask(`/v1/jobs/${done}`, key)).json()) as { state: string }).state,
			(state) => state === "done",
		);
		const account = accountNamed(settings, keyId(key)!);
		const limits = { ...DEFAULT_LIMITS, concurrent: 1 };
		const later = Date.now() + 600_000;
		expect(await account.charge(limits, [done], later)).toHaveProperty("left");
		expect((await jobs(key)).status).toBe(201);
		// One that is not there yet is about to be made; one that is late is over.
		const unborn = settings.JOB.newUniqueId().toString();
		await until(
			() => account.charge(limits, [unborn], later),
			({ refused }) => refused === undefined,
		);
		expect((await jobs(key)).status).toBe(429);
		await account.giveBack(limits, [unborn]);
		expect(await account.charge(limits, [unborn], Date.now())).toHaveProperty("left");
		expect((await jobs(key)).status).toBe(201);
	});
});

describe("two keys", () => {
	it("take turns, and neither can fill the queue", async () => {
		const peer = await Peer.join();
		const [greedy, modest] = [await mint(), await mint()];
		const readers: Reader[] = [];
		const open = async (key: string, seed: number) => {
			const reader = new Reader(await ask(`/v1/images/preview?prompt=x&seed=${seed}`, key));
			readers.push(reader);
			return reader.response;
		};
		expect((await open(greedy, 1)).status).toBe(200);
		const first = await peer.next("lease");
		for (const seed of [2, 3]) expect((await open(greedy, seed)).status).toBe(200);
		const full = await ask("/v1/images/preview?prompt=x&seed=4", greedy);
		expect(Number(full.headers.get("retry-after"))).toBeGreaterThan(0);
		expect(await refusal(full)).toEqual([503, "queue_full", "server_error"]);
		expect((await open(modest, 9)).status).toBe(200);
		await peer.finish(first);
		const seeds: number[] = [];
		for (let i = 0; i < 3; i++) {
			const lease = await peer.next("lease");
			seeds.push(lease.request.seed);
			await peer.finish(lease);
		}
		// The other one's comes before what the first has waiting.
		expect(seeds).toEqual([9, 2, 3]);
		await Promise.all(readers.map((reader) => reader.leave()));
	});
});
