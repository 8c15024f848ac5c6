/** Releases that come one after the other: versions of models, of the protocol, and of what is stored. */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, expect, it } from "vitest";
import { poolNamed } from "../../worker/edge/objects.ts";
import { drawVersion } from "../../worker/edge/pool/offer.ts";
import type { Env } from "../../worker/edge/settings.ts";
import { policies } from "../../worker/policies/index.ts";
import { CAPABILITIES, needsOf } from "../../worker/protocol/capabilities.ts";
import { VERSIONS } from "../../worker/protocol/messages.ts";
import { ModelInfo } from "../../worker/protocol/model-info.ts";
import { delayed } from "./delayed.ts";
import { deliver, delivered, edge, finalEvent, health, MODEL, Peer, pictureOf, scaleEvent } from "./peer.ts";
import { everybodyLeaves, Reader, until } from "./reader.ts";

afterEach(everybodyLeaves);

const open = (query = "") => Reader.open(`/v1/images/preview?prompt=x${query}`);
/** A newer version under the same name. */
const NEWER = ModelInfo.parse({ ...MODEL, digest: `sha256:${"d4".repeat(32)}` });

it("draws a version by its workers' slots, or by what an operator gave it", () => {
	const versions = [
		{ info: MODEL, since: 1, slots: 3, numerics: ["a"] },
		{ info: NEWER, since: 2, slots: 1, numerics: ["a"] },
	];
	const drawn = (weights: Record<string, number>) =>
		[0, 0.2, 0.4, 0.6, 0.8, 0.999].map((draw) => drawVersion(versions, weights, draw).info.digest === NEWER.digest);
	expect(drawn({})).toEqual([false, false, false, false, true, true]);
	expect(drawn({ [MODEL.digest]: 0 })).toEqual([true, true, true, true, true, true]);
	expect(drawn({ [MODEL.digest]: 1, [NEWER.digest]: 1 })).toEqual([false, false, false, true, true, true]);
	expect(drawn({ [MODEL.digest]: 0, [NEWER.digest]: 0 })).toEqual([false, false, false, false, false, false]);
});

it("workers of both versions of a model work", async () => {
	await Peer.join({ worker: "older", automatic: true });
	await Peer.join({ worker: "newer", models: [NEWER], automatic: true });
	const digests = new Set<string>();
	// Each is as likely as the other: that forty go one way never happens.
	for (let i = 0; i < 40 && digests.size < 2; i++)
		for (const { event, data } of await (await open()).rest()) if (event === "final") digests.add(data.digest);
	expect([...digests].sort()).toEqual([MODEL.digest, NEWER.digest]);
	expect(((await (await edge("/v1/models")).json()) as { data: unknown[] }).data).toHaveLength(1);
});

it("a job that nobody has begun is planned anew for the version that is there", async () => {
	const older = await Peer.join({ worker: "older" });
	const first = await open();
	const held = await older.next("lease");
	const waiting = await open("&policy=stagevar&seed=5");
	await delivered(held, scaleEvent(held, 0));
	const newer = await Peer.join({ worker: "newer", models: [NEWER] });
	older.leave();
	const lease = await newer.next("lease");
	expect(lease.request).toMatchObject({ seed: 5, plan: policies.stagevar.plan(NEWER, {}) });
	await newer.finish(lease);
	const events = await waiting.rest();
	expect(events.map(({ event }) => event)).toEqual(["plan", "plan", "scale", "scale", "scale", "scale", "final"]);
	expect(events.slice(0, 2).map(({ data }) => data.plan.model)).toEqual([MODEL.digest, NEWER.digest]);
	expect(events.at(-1)!.data.digest).toBe(NEWER.digest);
	// One that was begun cannot go on as another model.
	expect((await first.rest()).at(-1)).toMatchObject({ event: "error", data: { code: "no_workers" } });
});

it("a worker that is back does not go on with what is being planned anew meanwhile", async () => {
	const options = { worker: "older", instance: "one" };
	const older = await Peer.join(options);
	const reader = await open();
	const { job, attempt } = await older.next("lease");
	let asked = false;
	const answers = await delayed("replan", () => (asked = true));
	older.cut();
	const newer = await Peer.join({ worker: "newer", models: [NEWER] });
	await until(
		async () => asked,
		(yes) => yes,
	);
	const back = await Peer.join({ ...options, holding: [{ job, attempt }] });
	const { held } = await runInDurableObject(poolNamed(env as unknown as Env, "default") as never, (_, { storage }) =>
		JSON.parse(storage.sql.exec<{ record: string }>("SELECT record FROM book").one().record),
	);
	expect(held).toBeNull();
	expect(await back.next("cancel")).toEqual({ type: "cancel", job, attempt });
	await answers();
	const lease = await newer.next("lease");
	expect([lease.job, lease.request.plan.model]).toEqual([job, NEWER.digest]);
	await newer.finish(lease);
	expect((await reader.rest()).at(-1)!.event).toBe("final");
});

it("a worker of a later release is admitted by the newest version that both speak", async () => {
	const peer = await Peer.dial();
	const { adapter, ...hello } = peer.hello();
	const info = { ...MODEL, tomorrow: 1, sampling: { ...MODEL.sampling, tomorrow: 1 } };
	peer.send({
		...hello,
		versions: { min: VERSIONS.min, max: VERSIONS.max + 5 },
		tomorrow: { a: 1 },
		adapter: { ...adapter, tomorrow: 1 },
		models: [{ info, numerics: "n", tomorrow: 1 }],
	});
	expect(await peer.next("welcome")).toMatchObject({ version: VERSIONS.max });
	const reader = await open();
	const lease = await peer.next("lease");
	for (const index of [0, 1, 2, 3]) await delivered(lease, { ...scaleEvent(lease, index), tomorrow: 1 } as never);
	await delivered(lease, { ...finalEvent(lease), tomorrow: 1 } as never);
	peer.send({ type: "release", job: lease.job, attempt: 1, outcome: "done", reason: "", tomorrow: 1 });
	const events = await reader.rest();
	expect(events).toHaveLength(6);
	expect(JSON.stringify(events)).not.toContain("tomorrow");
	// People's input stays strict.
	expect((await edge("/v1/images/preview?prompt=x&tomorrow=1")).status).toBe(400);
});

it("a worker gets nothing that it cannot do, and what only a later one can does no harm", async () => {
	const early = await Peer.join({ worker: "early", capabilities: ["png", "of tomorrow"] });
	expect((await open("&format=webp")).response.status).toBe(503);
	expect((await open("&format=png&policy=stagevar")).response.status).toBe(503);
	const first = await open("&format=png");
	const lease = await early.next("lease");
	// Of before workers said what they can: all that there was then.
	const silent = await Peer.join({ worker: "silent" });
	const second = await open("&format=webp");
	expect((await silent.next("lease")).request.format.type).toBe("webp");
	// It waits for one that can, though another is free, and holds up nobody behind it.
	const third = await open("&format=webp&seed=3");
	await early.finish(lease);
	expect((await first.rest()).at(-1)).toMatchObject({ event: "final" });
	const fourth = await open("&format=png&seed=4");
	expect((await early.next("lease")).request).toMatchObject({ seed: 4, format: { type: "png" } });
	silent.leave();
	// Its model is offered still, but nobody is left who can make these.
	for (const reader of [second, third])
		expect((await reader.rest()).at(-1)).toMatchObject({ event: "error", data: { code: "no_workers" } });
	expect(await health()).toMatchObject({ queue: 0, workers: [{ busy: 1 }] });
	await fourth.leave();
});

it("what a plan asks of a worker has a name that this release's workers say", () => {
	const format = { type: "png", quality: 90, size: { width: 64, height: 64 } } as const;
	const more = { format, until: 1, trunk: { seed: 1, scales: 2, before: { seed: 2, scales: 1 } } };
	const plans = Object.values(policies).map((policy) => policy.plan(MODEL, {}));
	const needs = new Set(plans.flatMap((plan) => needsOf({ plan, ...more })));
	expect([...needs].filter((need) => !CAPABILITIES.includes(need))).toEqual([]);
	expect(needs.size).toBeGreaterThan(7);
});

it("what another release has stored, and cannot be read, is dropped; the rest goes on", async () => {
	const peer = await Peer.join();
	const reader = await open();
	const lease = await peer.next("lease");
	const { JOB } = env as unknown as Env;
	const old = JOB.newUniqueId();
	const pool = poolNamed(env as unknown as Env, "default");
	await runInDurableObject(pool as never, (_, { storage }) => {
		const row = JSON.stringify({ version: 0, job: old.toString(), of: "another release" });
		storage.sql.exec("INSERT INTO book (job, record) VALUES (?, ?)", old.toString(), row);
	});
	await runInDurableObject(JOB.get(old) as never, (_, { storage }) => {
		storage.kv.put("job", { of: "another release", ended: null });
	});
	await evictDurableObject(pool as never);
	await evictDurableObject(JOB.get(old) as never);
	expect(await health()).toMatchObject({ queue: 0, workers: [{ busy: 1 }] });
	expect((await edge(`/v1/images/preview?lastEventId=${old}.0`)).status).toBe(404);
	await peer.finish(lease);
	expect((await reader.rest()).at(-1)).toMatchObject({ event: "final" });
});

it("a final event that is not what it says is refused, and the job goes on", async () => {
	const peer = await Peer.join();
	const reader = await open("&format=webp");
	const lease = await peer.next("lease");
	for (const index of [0, 1, 2, 3]) await delivered(lease, scaleEvent(lease, index));
	const final = finalEvent(lease);
	const text = btoa("no picture at all");
	for (const [wrong, said] of [
		[{ ...final, sha256: "0f".repeat(32) }, /another sha256/],
		[{ ...final, digest: NEWER.digest }, /another model/],
		[{ ...final, width: 31 }, /31x32, not 32x32/],
		[finalEvent(lease, text), /no image\/webp/],
		[{ ...finalEvent(lease, pictureOf("a png", "png")), mime: "image/png" }, /image\/webp was asked for/],
		[{ ...final, mime: "image/jpeg" }, /no image\/jpeg/],
		[{ type: "error", code: "x".repeat(65), message: "m" }, /code/],
		[{ type: "error", code: "In Words", message: "m" }, /code/],
		[{ ...scaleEvent(lease, 3), base64: text }, /no image\/webp/],
		[{ ...scaleEvent(lease, 3), mime: null }, /half a preview/],
	] as [object, RegExp][]) {
		const response = await deliver(lease, wrong);
		expect(response.status).toBe(400);
		expect(((await response.json()) as { error: { message: string } }).error.message).toMatch(said);
	}
	expect((await delivered(lease, final)).go).toBe("stop");
	peer.release(lease);
	expect((await reader.rest()).at(-1)).toMatchObject({ event: "final", data: { numerics: "numerics-1" } });
});
