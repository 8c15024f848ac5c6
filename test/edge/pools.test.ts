/** Two pools behind one edge: workers find theirs, pictures go to the nearest with room, or where least is to do. */
import { env } from "cloudflare:workers";
import { afterEach, expect, it } from "vitest";
import app from "../../worker/edge/index.ts";
import { poolNamed } from "../../worker/edge/objects.ts";
import { poolOfWorker } from "../../worker/edge/pool/router.ts";
import { type Env, settingsOf } from "../../worker/edge/settings.ts";
import { CONNECT_PATH, LOADING_PATH, REGISTER_PATH } from "../../worker/protocol/messages.ts";
import type { ModelInfo } from "../../worker/protocol/model-info.ts";
import { ADMIN, deliver, MODEL, ORIGIN, OTHER_MODEL, Peer, type PeerOptions, SECRET, workerToken } from "./peer.ts";
import { everybodyLeaves, Reader, until } from "./reader.ts";

const { POOL } = env as unknown as Env;
const edgeOf = (pools: object[], more: object = {}): Env => ({
	...(env as unknown as Env),
	POOLS: JSON.stringify(pools),
	...more,
});
const REGIONS = edgeOf([
	{ name: "eu", near: ["EU", "AF"] },
	{ name: "us", near: ["NA", "SA"] },
]);

const readers: Reader[] = [];
afterEach(async () => {
	for (const reader of readers.splice(0)) await reader.leave();
	await everybodyLeaves();
	for (const name of ["eu", "us", "one", "two"])
		await until(
			() => poolNamed({ POOL }, name).status(),
			({ workers, queue }) => workers.length === 0 && queue === 0,
		);
});

const asked = (edge: Env, path: string, init?: RequestInit & { cf?: object }) =>
	Promise.resolve(app.fetch(new Request(`${ORIGIN}${path}`, init), edge));

async function join(
	edge: Env,
	worker: string,
	{ region = "", models = [MODEL], ...more }: { region?: string; models?: ModelInfo[] } & PeerOptions = {},
): Promise<Peer> {
	const query = new URLSearchParams({ region, models: models.map(({ id }) => id).join(",") });
	const headers = { upgrade: "websocket", authorization: `Bearer ${await workerToken(worker)}` };
	const { webSocket } = await asked(edge, `${CONNECT_PATH}?${query}`, { headers });
	return await new Peer(webSocket!, { worker, models, ...more }).admitted();
}

async function ask(edge: Env, continent: string | undefined, query = ""): Promise<Reader> {
	const reader = new Reader(await asked(edge, `/v1/images/preview?prompt=x${query}`, { cf: { continent } }));
	readers.push(reader);
	expect(reader.response.status).toBe(200);
	return reader;
}

/** The same edge, where these pools fail at whatever they are asked. */
function failing(edge: Env, ...names: string[]): Env {
	const fails = () => Promise.reject(new Error("its region is gone"));
	const gone = { metrics: fails, offer: fails, revokedWorkers: fails, status: fails };
	const idFromName = (name: string) => name;
	const get = (name: string) => (names.includes(name) ? gone : poolNamed({ POOL }, name));
	return { ...edge, POOL: { idFromName, get } as unknown as typeof POOL };
}

const load = async (name: string): Promise<number> => (await poolNamed({ POOL }, name).offer()).load;

it("a picture goes to the region of its reader, elsewhere where that has no room", async () => {
	const eu = await join(REGIONS, "w1", { region: "EU" });
	const us = await join(REGIONS, "w2", { region: "NA" });
	const reader = await ask(REGIONS, "SA");
	const lease = await us.next("lease");
	await us.finish(lease);
	expect((await reader.rest()).at(-1)).toMatchObject({ event: "final" });
	// One in hand, four in the queue (QUEUE_LIMIT): the sixth is Africa's, and made in America.
	for (let i = 0; i < 5; i++) await ask(REGIONS, "AF");
	const first = await eu.next("lease");
	expect([await load("eu"), await load("us")]).toEqual([5, 0]);
	await ask(REGIONS, "AF");
	await us.next("lease");
	expect([await load("eu"), await load("us")]).toEqual([5, 1]);
	// Both together are what the edge has.
	const { workers, queue } = (await (await asked(REGIONS, "/healthz")).json()) as { workers: object[]; queue: number };
	expect([workers.length, queue]).toEqual([2, 4]);
	expect((await deliver(first, { type: "error", code: "x", message: "m" })).status).toBe(200);
});

it("a picture that goes on from another is made near its reader, too", async () => {
	const eu = await join(REGIONS, "w1", { region: "EU" });
	const us = await join(REGIONS, "w2", { region: "NA" });
	const headers = { "content-type": "application/json" };
	const post = async (path: string, body: object) => {
		const init = { method: "POST", headers, body: JSON.stringify(body), cf: { continent: "SA" } };
		const { data } = (await (await asked(REGIONS, path, init)).json()) as { data: { id: string }[] };
		return data[0].id;
	};
	const job = await post("/v1/jobs", { prompt: "x", cache: false });
	await us.finish(await us.next("lease"));
	for (const [kin, body] of [
		["refine", {}],
		["branch", { from: 1 }],
	] as const) {
		const id = await post(`/v1/jobs/${job}/${kin}`, body);
		const lease = await us.next("lease");
		expect(lease.job).toBe(id);
		await us.finish(lease);
	}
	expect(eu.inbox).toEqual([]);
});

it("a pool that is full is what a request hears of, whatever the others cannot do", async () => {
	await join(REGIONS, "w1", { region: "EU" });
	await join(REGIONS, "w2", { region: "NA", capabilities: ["webp"] });
	for (let i = 0; i < 5; i++) {
		await ask(REGIONS, "EU");
		await ask(REGIONS, "NA", "&format=webp");
	}
	// With a seed it might have been there already, and is sent on to the pools themselves.
	const refused = await asked(REGIONS, "/v1/images/preview?prompt=x&seed=3", { cf: { continent: "EU" } });
	expect([refused.status, await refused.json()]).toMatchObject([503, { error: { code: "queue_full" } }]);
});

it("a worker that loads is known to the pool that it will dial, and is loading no more once it has", async () => {
	const names = Array.from({ length: 20 }, (_, i) => `loads-${i}`);
	const worker = names.find((worker) => poolOfWorker(REGIONS, { worker, models: [] }) === "eu")!;
	const said = await asked(REGIONS, `${LOADING_PATH}?region=NA`, {
		method: "POST",
		headers: { "content-type": "application/json", authorization: `Bearer ${await workerToken(worker)}` },
		body: JSON.stringify({ worker, model: MODEL.id, part: "weights", done: 0.5 }),
	});
	expect(said.status).toBe(204);
	const loading = async () => ((await (await asked(REGIONS, "/healthz")).json()) as { loading: object[] }).loading;
	expect(await loading()).toEqual([{ model: MODEL.id, part: "weights", done: 0.5 }]);
	await join(REGIONS, worker, { region: "NA" });
	expect(await loading()).toEqual([]);
});

it("pools of one kind share workers, each always in the same one, and pictures by what they have to do", async () => {
	const TWO = edgeOf([{ name: "one" }, { name: "two" }]);
	const names = Array.from({ length: 200 }, (_, i) => `worker-${i}`);
	const placed = names.map((worker) => poolOfWorker(TWO, { worker, models: [] }));
	expect(names.map((worker) => poolOfWorker(TWO, { worker, models: [] }))).toEqual(placed);
	for (const pool of ["one", "two"]) expect(placed.filter((name) => name === pool).length).toBeGreaterThan(70);
	// A third pool takes its share of both, and nobody goes from one of the two to the other.
	const THREE = edgeOf([{ name: "one" }, { name: "two" }, { name: "three" }]);
	const moved = names.filter((worker, i) => poolOfWorker(THREE, { worker, models: [] }) !== placed[i]);
	expect(new Set(moved.map((worker) => poolOfWorker(THREE, { worker, models: [] })))).toEqual(new Set(["three"]));

	// By a snapshot that is a minute old: what was given since counts.
	const SLOW = edgeOf([{ name: "one" }, { name: "two" }], { STATUS_SECONDS: "60" });
	await join(SLOW, names[placed.indexOf("one")], { slots: 4 });
	await join(SLOW, names[placed.indexOf("two")], { slots: 2 });
	for (let i = 0; i < 6; i++) await ask(SLOW, undefined);
	expect([await load("one"), await load("two")]).toEqual([4, 2]);
});

it("a pool for some models gets no others, and workers that no pool takes are told so", async () => {
	const BY_MODEL = edgeOf([
		{ name: "one", models: [MODEL.id] },
		{ name: "two", models: [OTHER_MODEL.id] },
	]);
	const first = await join(BY_MODEL, "w1");
	const second = await join(BY_MODEL, "w2", { models: [OTHER_MODEL] });
	await ask(BY_MODEL, "EU", `&model=${OTHER_MODEL.id}`);
	expect((await second.next("lease")).request.model).toBe(OTHER_MODEL.id);
	await ask(BY_MODEL, "EU", `&model=${MODEL.id}`);
	expect((await first.next("lease")).request.model).toBe(MODEL.id);
	const headers = { upgrade: "websocket", authorization: `Bearer ${await workerToken("w")}` };
	expect((await asked(BY_MODEL, `${CONNECT_PATH}?models=none`, { headers })).status).toBe(404);
	const { data } = (await (await asked(BY_MODEL, "/v1/models")).json()) as { data: { id: string }[] };
	expect(data.map(({ id }) => id).sort()).toEqual([MODEL.id, OTHER_MODEL.id].sort());
	expect(settingsOf(BY_MODEL).POOLS).toHaveLength(2);
});

it("a pool that does not answer takes nothing of the others along, and is told of", async () => {
	const half = failing(REGIONS, "us");
	const register = async (edge: Env) => {
		const headers = { authorization: `Bearer ${SECRET}`, "content-type": "application/json" };
		const body = JSON.stringify({ worker: "w9", models: [] });
		return (await asked(edge, REGISTER_PATH, { method: "POST", headers, body })).status;
	};
	const judge = async (method: string) =>
		(await asked(REGIONS, "/v1/admin/workers/w9", { method, headers: { authorization: `Bearer ${ADMIN}` } })).status;
	expect([await register(REGIONS), await register(half)]).toEqual([200, 200]);
	expect([await judge("DELETE"), await register(half), await judge("POST")]).toEqual([204, 403, 204]);
	await join(REGIONS, "w1", { region: "EU" });
	await join(REGIONS, "w2", { region: "NA" });
	const metrics = async (edge: Env) => (await asked(edge, "/metrics")).text();
	const whole = await metrics(REGIONS);
	for (const line of ["firstlight_pools_missing 0", 'worker="w1"', 'worker="w2"']) expect(whole).toContain(line);
	const part = await metrics(half);
	for (const line of ["firstlight_pools_missing 1", 'worker="w1"']) expect(part).toContain(line);
	expect(part).not.toContain('worker="w2"');
	const none = failing(REGIONS, "eu", "us");
	expect([await register(none), (await asked(none, "/metrics")).status]).toEqual([500, 500]);
});

/** One policy loses next to nothing, the other some. */
const TRADES = {
	stagevar: { score: 0.9, delta: -0.005, speedup: 1.5 },
	"stagevar-released": { score: 0.86, delta: -0.04, speedup: 3 },
};

it("late scales are thinned once half is taken of the queues of all pools that offer the model", async () => {
	const traded = { ...MODEL, digest: `sha256:${"e7".repeat(32)}`, trades: TRADES };
	const policies = async (edge: Env, count: number) => {
		const chosen: (string | null)[] = [];
		for (let i = 0; i < count; i++) chosen.push((await ask(edge, "EU")).response.headers.get("firstlight-policy"));
		return chosen;
	};
	// Slots enough that nothing but the queues says that much is to do.
	await join(REGIONS, "w1", { region: "EU", models: [traded] });
	await join(REGIONS, "w2", { region: "NA", models: [traded], slots: 8 });
	const measured = "stagevar; reason=measured";
	// One in hand, then the four places of one queue out of two.
	expect(await policies(REGIONS, 6)).toEqual([...Array(5).fill(measured), "stagevar-released; reason=load"]);
});

it("and not by the queue of a pool that does not offer it", async () => {
	const BY_MODEL = edgeOf([
		{ name: "one", models: [MODEL.id] },
		{ name: "two", models: [OTHER_MODEL.id] },
	]);
	await join(BY_MODEL, "w1", { models: [{ ...MODEL, trades: TRADES }] });
	await join(BY_MODEL, "w2", { models: [OTHER_MODEL] });
	for (let i = 0; i < 4; i++) await ask(BY_MODEL, undefined, `&model=${OTHER_MODEL.id}`);
	const { response } = await ask(BY_MODEL, undefined, `&model=${MODEL.id}`);
	expect(response.headers.get("firstlight-policy")).toBe("stagevar; reason=measured");
});
