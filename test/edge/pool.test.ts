import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import { signToken } from "../../worker/edge/auth/token.ts";
import app from "../../worker/edge/index.ts";
import { type NewJob, poolNamed } from "../../worker/edge/objects.ts";
import type { Env } from "../../worker/edge/settings.ts";
import { CONNECT_PATH, type Lease, LOADING_PATH, VERSIONS } from "../../worker/protocol/messages.ts";
import {
	ADMIN,
	codesOf,
	deliver,
	delivered,
	edge,
	finalEvent,
	health,
	MODEL,
	OTHER_MODEL,
	Peer,
	SECRET,
	scaleEvent,
	workerToken,
} from "./peer.ts";
import { everybodyLeaves, pause, Reader, until } from "./reader.ts";

const open = (query = "") => Reader.open(`/v1/images/preview?prompt=x${query}`);
const queueLength = async () => (await health()).queue;

afterEach(everybodyLeaves);

describe("a worker that joins", () => {
	it("is welcomed and shown with its adapter", async () => {
		expect(await health()).toEqual({
			status: "no-workers",
			workers: [],
			models: [],
			loading: [],
			queue: 0,
			pictures: 0,
		});
		await Peer.join({ models: [MODEL, OTHER_MODEL], slots: 2 });
		expect(await health()).toEqual({
			status: "ok",
			workers: [
				{
					adapter: "Test adapter",
					software: true,
					runtime: "node",
					driver: "test 1",
					models: ["test-32", "other-32"],
					busy: 0,
					slots: 2,
					draining: false,
				},
			],
			models: ["test-32", "other-32"],
			loading: [],
			queue: 0,
			pictures: 0,
		});
	});

	it("is seen while it loads, until it is ready or silent", async () => {
		const say = async (body: { worker: string; [field: string]: unknown }, token?: string) =>
			edge(LOADING_PATH, {
				method: "POST",
				headers: {
					"content-type": "application/json",
					authorization: `Bearer ${token ?? (await workerToken(body.worker))}`,
				},
				body: JSON.stringify(body),
			});
		const half = { worker: "peer-1", model: "test-32", part: "weights", done: 0.5 };
		expect((await say(half)).status).toBe(204);
		expect((await say({ ...half, worker: "peer-2", part: "kernels", done: 0.25 })).status).toBe(204);
		expect(await health()).toMatchObject({
			status: "no-workers",
			loading: [
				{ model: "test-32", part: "weights", done: 0.5 },
				{ model: "test-32", part: "kernels", done: 0.25 },
			],
		});
		await Peer.join();
		expect((await health()).loading).toEqual([{ model: "test-32", part: "kernels", done: 0.25 }]);
		await until(health, ({ loading }) => loading.length === 0);
		expect((await say(half, "wrong-secret-0123456789")).status).toBe(401);
		expect((await say({ ...half, done: 2 })).status).toBe(400);
		expect((await say({ ...half, model: "x".repeat(2000) })).status).toBe(413);
		expect((await health()).loading).toEqual([]);
	});

	it.each([
		["a missing secret", {}],
		["a wrong secret", { authorization: "Bearer wrong-secret-0123456789" }],
		["half the secret", { authorization: `Bearer ${SECRET.slice(0, 10)}` }],
		["another scheme", { authorization: `Basic ${SECRET}` }],
	])("needs the secret: %s", async (_, headers) => {
		const response = await edge(CONNECT_PATH, { headers: { upgrade: "websocket", ...headers } as HeadersInit });
		expect(response.status).toBe(401);
		expect(response.webSocket).toBeNull();
		expect(await response.json()).toMatchObject({ error: { type: "authentication_error", code: "invalid_secret" } });
	});

	it("needs a WebSocket", async () => {
		const token = await workerToken("peer-1");
		const response = await edge(CONNECT_PATH, { headers: { authorization: `Bearer ${token}` } });
		expect([response.status, response.headers.get("upgrade")]).toEqual([426, "websocket"]);
	});

	it("is refused with the reason when it speaks another version", async () => {
		const peer = await Peer.dial();
		peer.send({
			...peer.hello(),
			versions: { min: VERSIONS.max + 1, max: VERSIONS.max + 2 },
			models: "in a new shape",
		});
		expect((await peer.next("refused")).reason).toMatch(/protocol versions 3 to 3, the worker {"min":4,"max":5}/);
		expect((await peer.untilClosed()).code).toBe(1008);
		expect((await health()).workers).toEqual([]);
	});

	it.each<[string, (peer: Peer) => void, RegExp]>([
		["text that is not JSON", (peer) => peer.send("{not json"), /not JSON/],
		["JSON that is no message", (peer) => peer.send([1, 2]), /does not fit/],
		["null", (peer) => peer.send("null"), /does not fit/],
		["an unknown message", (peer) => peer.send({ type: "shutdown" }), /does not fit/],
		["bytes", (peer) => peer.sendBytes(new Uint8Array(100)), /not binary/],
		["too much", (peer) => peer.send(JSON.stringify({ type: "x".repeat(300_000) })), /larger than 262144/],
		[
			"a heartbeat before hello",
			(peer) => peer.send({ type: "heartbeat", holding: [] }),
			/first message must be hello/,
		],
		["no models", (peer) => peer.send({ ...peer.hello(), models: [] }), /does not fit/],
	])("is refused when it sends %s", async (_, misbehave, reason) => {
		const peer = await Peer.dial();
		misbehave(peer);
		expect((await peer.next("refused")).reason).toMatch(reason);
		await peer.untilClosed();
		await Peer.join({ automatic: true });
		expect(await (await open()).rest()).toHaveLength(6);
	});

	it("is dropped when it never says hello", async () => {
		const peer = await Peer.dial();
		expect((await peer.untilClosed()).code).toBe(1008);
	});

	it("replaces its own older connection", async () => {
		const older = await Peer.join();
		const reader = await open();
		const lease = await older.next("lease");
		const newer = await Peer.join();
		expect((await older.untilClosed()).reason).toMatch(/replaced/);
		const second = await newer.next("lease");
		expect([second.job, second.attempt]).toEqual([lease.job, 2]);
		expect((await health()).workers).toHaveLength(1);
		await newer.finish(second);
		expect(await reader.rest()).toHaveLength(6);
	});
});

describe("a job that loses its worker", () => {
	const expectWhole = async (reader: Reader) => {
		const events = await reader.rest();
		expect(events.map(({ data }) => data.index ?? data.type)).toEqual(["plan", 0, 1, 2, 3, "final"]);
	};

	it("goes on at attempt 2 with the codes logged", async () => {
		const first = await Peer.join({ worker: "first" });
		const reader = await open();
		const lease = await first.next("lease");
		for (const index of [0, 1]) await delivered(lease, scaleEvent(lease, index));
		first.leave();
		const second = await Peer.join({ worker: "second" });
		const next = await second.next("lease");
		expect(next).toMatchObject({ job: lease.job, attempt: 2, request: lease.request });
		expect(next.codes).toEqual([codesOf(0, 1), codesOf(1, 4)]);
		expect((await deliver(lease, scaleEvent(lease, 2))).status).toBe(200);
		expect(await (await deliver(lease, scaleEvent(lease, 2))).json()).toEqual({ go: "stop" });
		await second.finish(next);
		await expectWhole(reader);
	});

	it("goes on elsewhere when a worker hangs without closing its socket", async () => {
		const first = await Peer.join({ worker: "first" });
		const reader = await open();
		await first.next("lease");
		first.hang();
		await Peer.join({ worker: "second", automatic: true });
		await expectWhole(reader);
		expect((await first.untilClosed()).reason).toMatch(/no heartbeat/);
	});

	it("goes on elsewhere when a worker sends garbage", async () => {
		const first = await Peer.join({ worker: "first" });
		const reader = await open();
		await first.next("lease");
		await Peer.join({ worker: "second", automatic: true });
		first.send("garbage");
		await expectWhole(reader);
	});

	it("goes to another worker when it is handed back", async () => {
		const first = await Peer.join({ worker: "first" });
		const reader = await open();
		const lease = await first.next("lease");
		const second = await Peer.join({ worker: "second" });
		first.release(lease, "handed-back");
		await second.finish(await second.next("lease"));
		await expectWhole(reader);
	});

	it("prefers a worker with the same numerics", async () => {
		const first = await Peer.join({ worker: "first", numerics: "a" });
		const reader = await open();
		const lease = await first.next("lease");
		await delivered(lease, scaleEvent(lease, 0));
		await Peer.join({ worker: "second", numerics: "b" });
		const third = await Peer.join({ worker: "third", numerics: "a" });
		first.leave();
		await third.finish(await third.next("lease"));
		await expectWhole(reader);
	});

	it("is taken up again when a worker says done but nothing was finished", async () => {
		const peer = await Peer.join();
		const reader = await open();
		peer.release(await peer.next("lease"));
		const second = await peer.next("lease");
		expect(second.attempt).toBe(2);
		await peer.finish(second);
		await expectWhole(reader);
	});

	it("is taken up again when a worker's heartbeats no longer name it", async () => {
		const peer = await Peer.join({ slots: 2 });
		const reader = await open();
		const lease = await peer.next("lease");
		// One that is in hand, so that there are heartbeats.
		const beside = await open();
		const other = await peer.next("lease");
		peer.jobs.delete(lease.job);
		const second = await peer.next("lease");
		expect([second.job, second.attempt]).toEqual([lease.job, 2]);
		for (const each of [second, other]) await peer.finish(each);
		for (const each of [reader, beside]) await expectWhole(each);
	});

	it("ends with worker_lost after three attempts", async () => {
		const peer = await Peer.join();
		const reader = await open();
		for (const attempt of [1, 2, 3]) {
			const lease = await peer.next("lease");
			expect(lease.attempt).toBe(attempt);
			peer.release(lease, "handed-back");
		}
		expect((await reader.rest()).at(-1)).toMatchObject({ event: "error", data: { code: "worker_lost" } });
		expect((await health()).workers[0].busy).toBe(0);
	});

	it("ends with no_workers when nobody who offers the model comes back", async () => {
		const peer = await Peer.join();
		const reader = await open();
		await peer.next("lease");
		peer.leave();
		expect((await reader.rest()).at(-1)).toMatchObject({ event: "error", data: { code: "no_workers" } });
		expect(await queueLength()).toBe(0);
	});

	it("survives a pool that slept and a reset of its own object, and so do its reader and its worker", async () => {
		const peer = await Peer.join();
		const reader = await open();
		await reader.next();
		const lease = await peer.next("lease");
		await delivered(lease, scaleEvent(lease, 0));
		const { JOB, POOL } = env as unknown as Env;
		await evictDurableObject(poolNamed({ POOL }, "default") as never);
		// Its reader's stream breaks, as in a deploy.
		await runInDurableObject(JOB.get(JOB.idFromString(lease.job)) as never, (_, state) => state.abort("reset")).catch(
			() => {},
		);
		expect((await health()).workers).toMatchObject([{ busy: 1 }]);
		await peer.finish({ ...lease, codes: [""] });
		expect((await reader.rest()).map(({ data }) => data.index ?? data.type)).toEqual([0, 1, 2, 3, "final"]);
		await until(health, ({ workers }) => workers[0]?.busy === 0);
	});
});

describe("deliveries", () => {
	const start = async (): Promise<[Peer, Reader, Lease]> => {
		const peer = await Peer.join();
		const reader = await open();
		return [peer, reader, await peer.next("lease")];
	};

	it("need the token of this job, and reach nobody without", async () => {
		const [peer, reader, lease] = await start();
		const other = await signToken(ADMIN, "ab".repeat(32), 1);
		for (const token of ["", "garbage", SECRET, other, lease.token.replace(/^1/, "2")]) {
			const response = await deliver(lease, scaleEvent(lease, 0), token);
			expect(response.status).toBe(401);
			expect(await response.json()).toMatchObject({ error: { code: "invalid_token" } });
		}
		await peer.finish(lease);
		expect(await reader.rest()).toHaveLength(6);
	});

	it("of a job that this edge never made are refused", async () => {
		await Peer.join();
		const job = "ab".repeat(32);
		const response = await edge(`/internal/jobs/${job}/events`, {
			method: "POST",
			headers: { authorization: `Bearer ${await signToken(ADMIN, job, 1)}`, "content-type": "application/json" },
			body: "{}",
		});
		expect(response.status).toBe(401);
	});

	it("of an attempt yet to come are answered stop", async () => {
		const [, , lease] = await start();
		expect(await (await deliver(lease, scaleEvent(lease, 0), await signToken(ADMIN, lease.job, 2))).json()).toEqual({
			go: "stop",
		});
	});

	it("that come twice are logged once", async () => {
		const [peer, reader, lease] = await start();
		for (const index of [0, 0, 1, 0, 1]) expect(await delivered(lease, scaleEvent(lease, index))).toEqual({ go: "on" });
		await peer.finish({ ...lease, codes: ["", ""] });
		expect((await reader.rest()).map(({ data }) => data.index ?? data.type)).toEqual(["plan", 0, 1, 2, 3, "final"]);
		expect((await delivered(lease, finalEvent(lease))).go).toBe("stop");
	});

	it("that do not fit the job are refused, and the job goes on", async () => {
		const [peer, reader, lease] = await start();
		const scale = scaleEvent(lease, 0);
		const bad: [unknown, number, string][] = [
			["{broken", 400, "invalid_json"],
			[{}, 400, "invalid_value"],
			[{ type: "plan" }, 400, "invalid_value"],
			[{ ...scale, base64: "not base64!" }, 400, "invalid_value"],
			[{ ...scale, index: 9 }, 400, "bad_event"],
			[{ ...scale, grid: [9, 9] }, 400, "bad_event"],
			[{ ...scale, codes: "AAAAAAAA" }, 400, "bad_event"],
			[scaleEvent(lease, 1), 400, "bad_event"],
			[finalEvent(lease), 400, "bad_event"],
			[{ ...finalEvent(lease), seed: 1 }, 400, "bad_event"],
			["x".repeat(12_500_000), 413, "request_too_large"],
		];
		for (const [event, status, code] of bad) {
			const response = await deliver(lease, event);
			expect([response.status, ((await response.json()) as { error: { code: string } }).error.code]).toEqual([
				status,
				code,
			]);
		}
		await peer.finish(lease);
		expect(await reader.rest()).toHaveLength(6);
	});
});

describe("the queue", () => {
	it("gives jobs in order, one to a slot", async () => {
		const peer = await Peer.join({ slots: 2 });
		const readers = [];
		for (const seed of [1, 2, 3]) readers.push(await open(`&seed=${seed}`));
		const leases = [await peer.next("lease"), await peer.next("lease")];
		expect(leases.map(({ request }) => request.seed)).toEqual([1, 2]);
		expect(await health()).toMatchObject({ queue: 1, workers: [{ busy: 2 }] });
		await peer.finish(leases[1]);
		const third = await peer.next("lease");
		expect(third.request.seed).toBe(3);
		await peer.finish(leases[0]);
		await peer.finish(third);
		for (const reader of readers) expect(await reader.rest()).toHaveLength(6);
	});

	it("gives jobs to workers that have their model", async () => {
		const first = await Peer.join({ worker: "first", models: [OTHER_MODEL] });
		const second = await Peer.join({ worker: "second" });
		await open(`&model=${MODEL.id}`);
		expect((await second.next("lease")).request.model).toBe(MODEL.id);
		await open();
		expect((await first.next("lease")).request.model).toBe(OTHER_MODEL.id);
	});

	it("refuses with 503 when it is full, and takes more when it is not", async () => {
		const peer = await Peer.join({ worker: "never-measured" });
		const readers = [await open()];
		const lease = await peer.next("lease");
		for (let i = 0; i < 4; i++) readers.push(await open());
		const refused = await edge("/v1/images/preview?prompt=x");
		expect([refused.status, refused.headers.get("x-should-retry")]).toEqual([503, "true"]);
		// As long as a place takes to be free, as measured.
		expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
		expect(await refused.json()).toMatchObject({ error: { code: "queue_full", type: "server_error" } });
		await peer.finish(lease);
		await peer.next("lease");
		const taken = await open();
		expect(taken.response.status).toBe(200);
		await Promise.all([...readers, taken].map((reader) => reader.leave()));
		await until(queueLength, (n) => n === 0);
	});

	/** In a pool without alarms a first job, on whose object `before` is played as soon as it is there, and a second. */
	const two = async (before: (job: never) => unknown) => {
		const { JOB, POOL } = env as unknown as Env;
		const pool = poolNamed({ POOL }, "default");
		await runInDurableObject(pool as never, (object: { alarm?: () => Promise<void> }) => {
			object.alarm = async () => {};
		});
		let first: DurableObjectId | undefined;
		const get = (id: DurableObjectId) => {
			const stub = JOB.get(id);
			const create = async (job: NewJob) => {
				await stub.create(job);
				if (first) return;
				first = id;
				void before(stub as never);
			};
			return { create, discard: () => stub.discard(), facts: (owner: null) => stub.facts(owner) };
		};
		const jobs = { newUniqueId: () => JOB.newUniqueId(), idFromString: (id: string) => JOB.idFromString(id), get };
		const ask = async () => {
			const init = { method: "POST", headers: { "content-type": "application/json" }, body: '{"prompt":"x"}' };
			return app.fetch(new Request("http://localhost/v1/jobs", init), { ...env, JOB: jobs } as never);
		};
		const asked = [ask()];
		await until(
			async () => first,
			(id) => id !== undefined,
		);
		await until(
			() => pool.offer(),
			({ load }) => load === 1,
		);
		asked.push(ask());
		await until(
			() => pool.offer(),
			({ load }) => load === 2,
		);
		return {
			pool,
			first: String(first),
			end: async () => {
				await runInDurableObject(pool as never, (object: { alarm?: () => Promise<void> }) => delete object.alarm);
				for (const answer of await Promise.all(asked)) {
					const { data } = (await answer.json()) as { data: { id: string }[] };
					await edge(`/v1/jobs/${data[0].id}`, { method: "DELETE" });
				}
			},
		};
	};

	it("gives the slot of a lease on its way to the next one where its job is cancelled", async () => {
		const peer = await Peer.join();
		const { pool, first, end } = await two((job) =>
			runInDurableObject(job, (_, state) => state.blockConcurrencyWhile(() => pause(1000))),
		);
		await pool.cancel(first);
		expect((await peer.next("lease")).job).not.toBe(first);
		await end();
	});

	it("gives the slot to the next one where a job does not answer with its lease", async () => {
		const peer = await Peer.join();
		const { first, end } = await two((job) =>
			runInDurableObject(job, (object: { lease?: unknown }) => {
				object.lease = () => Promise.reject(new Error("out of reach"));
			}),
		);
		expect((await peer.next("lease")).job).not.toBe(first);
		await end();
	});

	it("gives nothing to a draining worker, which finishes what it has", async () => {
		const first = await Peer.join({ worker: "first", slots: 2 });
		const reader = await open();
		const lease = await first.next("lease");
		first.send({ type: "draining" });
		await until(health, ({ workers }) => workers[0].draining);
		expect((await edge("/v1/images/preview?prompt=x")).status).toBe(503);
		const second = await Peer.join({ worker: "second" });
		await open();
		await second.next("lease");
		await first.finish(lease);
		expect(await reader.rest()).toHaveLength(6);
	});

	it("does not wait when there are no workers", async () => {
		const response = await edge("/v1/images/preview?prompt=x");
		expect([response.status, response.headers.get("retry-after")]).toEqual([503, "5"]);
		expect(await response.json()).toMatchObject({ error: { code: "no_workers" } });
	});
});

describe("without a worker secret", () => {
	it("/internal fails closed", async () => {
		for (const WORKER_SECRET of [undefined, "", "short", "a secret with spaces", "sch\u00f6n-gross-und-lang"]) {
			for (const secret of ["", "short"]) {
				const request = new Request(`http://localhost${CONNECT_PATH}`, {
					headers: { upgrade: "websocket", authorization: `Bearer ${secret}` },
				});
				const response = await app.fetch(request, { ...env, WORKER_SECRET } as never);
				expect(response.status).toBe(503);
				expect(await response.json()).toMatchObject({ error: { code: "no_worker_secret" } });
			}
		}
	});
});
