/** Finished pictures lie in the bucket for as long as their jobs are kept, and not for longer. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Env } from "../../worker/edge/settings.ts";
import type { Lease } from "../../worker/protocol/messages.ts";
import { deliver, delivered, edge, finalEvent, Peer, pictureOf, runs, scaleEvent } from "./peer.ts";
import { everybodyLeaves, pause, Reader, until } from "./reader.ts";

const settings = env as unknown as Env;
const { JOB } = settings;
const bucket = settings.PICTURE_BUCKET!;
const kept = async (): Promise<string[]> => (await bucket.list()).objects.map(({ key }) => key);
const nothingKept = () => until(kept, (keys) => keys.length === 0);

beforeEach(nothingKept);
afterEach(everybodyLeaves);

const query = "/v1/images/preview?prompt=x&cache=false";
/** All scales delivered, and not the picture. */
async function almost(peer: Peer): Promise<Lease> {
	const lease = await peer.next("lease");
	for (const index of runs(lease)) await delivered(lease, scaleEvent(lease, index));
	return lease;
}
const remove = (job: string) => edge(`/v1/jobs/${job}`, { method: "DELETE" });
/** Does something within a job's object. */
const within = <T>(job: string, run: (object: { env: Env }, storage: DurableObjectState["storage"]) => T): Promise<T> =>
	runInDurableObject(JOB.get(JOB.idFromString(job)) as never, (object, { storage }) =>
		run(object as unknown as { env: Env }, storage as unknown as DurableObjectState["storage"]),
	);

it("a picture lies in the bucket and not in the job's rows, and comes to readers whole", async () => {
	const peer = await Peer.join();
	const reader = await Reader.open(query);
	const lease = await almost(peer);
	// Longer than one piece of a log, and than one call's arguments.
	const final = finalEvent(lease, pictureOf("y".repeat(1_300_000)));
	await delivered(lease, final);
	peer.release(lease);
	const last = (await reader.rest()).at(-1)!;
	expect(Object.entries(last.data)).toEqual(Object.entries(final));
	expect(await kept()).toEqual([lease.job]);
	const characters = await within(lease.job, (_, { sql }) =>
		sql.exec<{ all: number }>("SELECT max(length(json)) AS 'all' FROM piece").one(),
	);
	expect(characters.all).toBeLessThan(5000);
	const { links } = await (await edge(`/v1/jobs/${lease.job}`)).json();
	const picture = await edge(links.image.replace("http://localhost", ""));
	expect(btoa(String.fromCharCode(...new Uint8Array(await picture.arrayBuffer()).subarray(0, 999)))).toBe(
		final.base64.slice(0, 1332),
	);
	expect(Object.fromEntries(picture.headers)).toMatchObject({
		"content-type": "image/png",
		"content-length": `${atob(final.base64).length}`,
		etag: `"${final.sha256}"`,
	});
});

it("it goes with its job: deleted, or when its time is over", async () => {
	const peer = await Peer.join({ automatic: true });
	const made = async () => (await (await Reader.open(query)).rest())[0].data.job as string;
	const [first, second] = [await made(), await made()];
	expect((await kept()).sort()).toEqual([first, second].sort());
	expect((await remove(first)).status).toBe(204);
	expect(await kept()).toEqual([second]);
	await nothingKept();
	expect((await edge(`/v1/jobs/${second}`)).status).toBe(404);
	expect(peer.inbox).toEqual([]);
});

it("a job that is answered with a picture from before has its own", async () => {
	const peer = await Peer.join();
	const path = "/v1/images/preview?prompt=x&seed=90210";
	const reader = await Reader.open(path);
	await peer.finish(await peer.next("lease"));
	const [plan] = await reader.rest();
	const again = await (await Reader.open(path)).rest();
	expect(again[0].data.cached).toBe(true);
	expect((await kept()).length).toBe(2);
	await remove(plan.data.job);
	expect(await kept()).toEqual([again[0].data.job]);
	expect((await (await Reader.open(`${query}&lastEventId=${again[0].data.job}`)).rest()).at(-1)!.data).toEqual(
		again.at(-1)!.data,
	);
	await nothingKept();
});

it.each([
	["delivered twice at once", 1, (lease: Lease) => deliver(lease, finalEvent(lease))],
	["cancelled at that moment", null, ({ job }: Lease) => remove(job)],
	["cancelled and deleted at that moment", 0, ({ job }: Lease) => remove(job).then(() => remove(job))],
])("one that is %s leaves nothing behind", async (_, left, meanwhile) => {
	const peer = await Peer.join();
	const reader = await Reader.open(query);
	const lease = await almost(peer);
	const [answer] = await Promise.all([deliver(lease, finalEvent(lease)), meanwhile(lease)]);
	expect(await answer.json()).toEqual({ go: "stop" });
	peer.release(lease);
	const last = (await reader.rest()).at(-1);
	// Whichever came first, what readers were told is what lies there.
	expect((await kept()).length).toBe(left ?? (last?.event === "final" ? 1 : 0));
	await nothingKept();
});

/** The bucket as its job sees it, but for one call. */
const without = (call: "put" | "delete") =>
	new Proxy(bucket, {
		get: (real, name) => {
			if (name === call) return () => Promise.reject(new Error("the bucket does not answer"));
			const value = Reflect.get(real, name);
			return typeof value === "function" ? value.bind(real) : value;
		},
	});
/** For what the job does from now on. */
const withBucket = (job: string, PICTURE_BUCKET: R2Bucket | undefined) =>
	within(job, ({ env }) => {
		env.PICTURE_BUCKET = PICTURE_BUCKET;
	});

it.each([
	["takes nothing", without("put")],
	["is not there", undefined],
])("a bucket that %s costs nobody a picture", async (_, other) => {
	const peer = await Peer.join();
	const reader = await Reader.open(query);
	const lease = await almost(peer);
	await withBucket(lease.job, other);
	await delivered(lease, finalEvent(lease));
	peer.release(lease);
	expect((await reader.rest()).at(-1)!.data).toEqual(finalEvent(lease));
	const { links } = await (await edge(`/v1/jobs/${lease.job}`)).json();
	expect((await edge(links.image.replace("http://localhost", ""))).status).toBe(200);
	expect(await kept()).toEqual([]);
	await withBucket(lease.job, bucket);
});

it("one that cannot be deleted is tried again; all else of its job is gone at once", async () => {
	const peer = await Peer.join();
	const reader = await Reader.open(query);
	const lease = await almost(peer);
	await delivered(lease, finalEvent(lease));
	peer.release(lease);
	await reader.rest();
	await withBucket(lease.job, without("delete"));
	expect((await remove(lease.job)).status).toBe(204);
	expect((await edge(`/v1/jobs/${lease.job}`)).status).toBe(404);
	expect(await kept()).toEqual([lease.job]);
	const alarm = await within(lease.job, (_, storage) => storage.getAlarm());
	expect(alarm! - Date.now()).toBeGreaterThan(5000);
	await pause(2500);
	await withBucket(lease.job, bucket);
	await runInDurableObject(JOB.get(JOB.idFromString(lease.job)) as never, (object) =>
		(object as unknown as { alarm(): Promise<void> }).alarm(),
	);
	expect(await kept()).toEqual([]);
	expect(await within(lease.job, (_, storage) => storage.getAlarm())).toBeNull();
});
