/** Deploys and resets: what drops for a moment is waited for, and nobody who is there counts as gone. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, expect, it } from "vitest";
import { follow } from "../../worker/edge/job/follow.ts";
import { poolNamed } from "../../worker/edge/objects.ts";
import type { Env } from "../../worker/edge/settings.ts";
import { delivered, edge, health, MODEL, Peer, scaleEvent } from "./peer.ts";
import { everybodyLeaves, pause, Reader, until } from "./reader.ts";

afterEach(everybodyLeaves);

const { JOB, POOL } = env as unknown as Env;
/** Resets an object, as a deploy or a fault does: its connections break, its memory is gone. */
const reset = (stub: unknown) => runInDurableObject(stub as never, (_, state) => state.abort("reset")).catch(() => {});
/** A worker loses its connection, and the pool has noticed. */
async function cut(peer: Peer): Promise<void> {
	peer.cut();
	await until(health, ({ workers }) => workers.length === 0);
}
const preview = () => edge("/v1/images/preview?prompt=x");

it("a request that comes while all workers dial again waits for one", async () => {
	const peer = await Peer.join({ worker: "a", instance: "one" });
	await cut(peer);
	const reader = Reader.open("/v1/images/preview?prompt=x");
	await pause(150);
	const back = await Peer.join({ worker: "a", instance: "one" });
	expect((await reader).response.status).toBe(200);
	await back.finish(await back.next("lease"));
	expect(await (await reader).rest()).toHaveLength(6);
});

it("also after a reset of the pool itself", async () => {
	await Peer.join({ worker: "a" });
	await reset(poolNamed({ POOL }, "default"));
	const reader = Reader.open("/v1/images/preview?prompt=x");
	await pause(150);
	const back = await Peer.join({ worker: "a" });
	await back.finish(await back.next("lease"));
	expect(await (await reader).rest()).toHaveLength(6);
});

it("it waits no longer than that", async () => {
	await cut(await Peer.join());
	const begun = Date.now();
	expect((await preview()).status).toBe(503);
	const waited = Date.now() - begun;
	expect(waited).toBeGreaterThanOrEqual(450);
	expect(waited).toBeLessThan(3000);
});

it("a full queue says when to come again, by what pictures take here", async () => {
	const model = { ...MODEL, digest: `sha256:${"ab".repeat(32)}` };
	const peer = await Peer.join({ models: [model], worker: "measured" });
	const refused = async () => {
		const readers = await Promise.all(Array.from({ length: 5 }, () => Reader.open("/v1/images/preview?prompt=x")));
		const response = await preview();
		const { error } = (await response.json()) as { error: { code: string } };
		expect([response.status, error.code]).toEqual([503, "queue_full"]);
		const lease = await peer.next("lease");
		await pause(1300);
		await peer.finish(lease);
		for (const _ of [1, 2, 3, 4]) await peer.finish(await peer.next("lease"));
		for (const reader of readers) await reader.rest();
		return Number(response.headers.get("retry-after"));
	};
	expect(await refused()).toBe(10);
	const soon = await refused();
	expect(soon).toBeGreaterThanOrEqual(1);
	expect(soon).toBeLessThan(10);

	// There is room as soon as the one in hand is done, however many wait.
	const next = async () => {
		const { models } = await poolNamed({ POOL }, "default").offer();
		const version = models.flatMap(({ versions }) => versions).find(({ info }) => info.digest === model.digest);
		return version?.nextMs ?? null;
	};
	expect(await next()).toBeNull();
	const readers = await Promise.all([1, 2].map(() => Reader.open("/v1/images/preview?prompt=x")));
	const lease = await peer.next("lease");
	const begun = (await next()) as number;
	await pause(100);
	const later = (await next()) as number;
	expect(begun).toBeGreaterThan(100);
	expect(later).toBeLessThanOrEqual(begun - 90);
	await peer.finish(lease);
	await peer.finish(await peer.next("lease"));
	for (const reader of readers) await reader.rest();
});

it("a reader that takes nothing is there, also when its job is reset meanwhile", async () => {
	const peer = await Peer.join();
	const asked = await Reader.open("/v1/images/preview?prompt=x");
	const { job } = (await asked.next())!.data;
	const rows = follow(env as unknown as Env, job, -1, new AbortController().signal);
	expect((await rows.next()).value).toMatchObject({ type: "plan" });
	await asked.leave();
	const lease = await peer.next("lease");
	// Long enough for the slow one to be stood in for; then twice the grace.
	await pause(300);
	await reset(JOB.get(JOB.idFromString(job)));
	await pause(1300);
	expect((await delivered(lease, scaleEvent(lease, 0))).go).toBe("on");
	await peer.finish({ ...lease, codes: [""] });
	const types: string[] = [];
	for await (const row of rows) if (row) types.push(row.type);
	expect(types).toEqual(["scale", "scale", "scale", "scale", "final"]);
});
