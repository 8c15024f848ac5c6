/** A scale that readers are told of before it is on disk, and what they see where it never comes there. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, expect, it } from "vitest";
import type { Env } from "../../worker/edge/settings.ts";
import { policies } from "../../worker/policies/index.ts";
import type { Lease } from "../../worker/protocol/messages.ts";
import { ModelInfo } from "../../worker/protocol/model-info.ts";
import { diesAtWrite } from "./dying.ts";
import { deliver, delivered, edge, MODEL, Peer, scaleEvent } from "./peer.ts";
import { everybodyLeaves, Reader } from "./reader.ts";

afterEach(everybodyLeaves);

const { JOB } = env as unknown as Env;
const NEWER = ModelInfo.parse({ ...MODEL, digest: `sha256:${"d4".repeat(32)}` });
const open = (query = "") => Reader.open(`/v1/images/preview?prompt=x&cache=false${query}`);
const numberOf = (id: string | undefined) => Number(id?.split(".")[1]);
const kinds = async (reader: Reader) =>
	(await reader.rest()).map(({ id, data }) => [numberOf(id), data.index ?? data.code ?? data.type]);

/** What comes after plan and scale 0. */
const REST = [
	[2, 1],
	[3, 2],
	[4, 3],
	[5, "final"],
];

/** A reader, and a lease of which the reader was told scale 0 that the log does not have. */
async function told(peer: Peer, query = ""): Promise<{ reader: Reader; lease: Lease }> {
	const reader = await open(query);
	expect((await reader.next())!.event).toBe("plan");
	const lease = await peer.next("lease");
	await diesAtWrite(lease.job);
	const [answer, event] = await Promise.all([deliver(lease, scaleEvent(lease, 0)), reader.next()]);
	expect(answer.status).toBeGreaterThanOrEqual(500);
	expect([numberOf(event!.id), event!.data.index]).toEqual([1, 0]);
	const log = await Reader.open(`/v1/jobs/${lease.job}/events`);
	expect(numberOf((await log.next())!.id)).toBe(0);
	await log.leave();
	return { reader, lease };
}

it("a scale is told before it is written, and answered after it", async () => {
	const peer = await Peer.join();
	const reader = await open();
	await reader.next();
	const lease = await peer.next("lease");
	const order: string[] = [];
	await runInDurableObject(JOB.get(JOB.idFromString(lease.job)) as never, (_, { storage }) => {
		const write = storage.transactionSync.bind(storage);
		storage.transactionSync = (run) => {
			order.push("written");
			return write(run);
		};
	});
	await Promise.all([
		delivered(lease, scaleEvent(lease, 0)).then(() => order.push("answered")),
		reader.next().then(() => order.push("told")),
	]);
	expect(order).toEqual(["told", "written", "answered"]);
	await peer.finish({ ...lease, codes: [""] });
	expect(await kinds(reader)).toEqual(REST);
});

it("where the disk fails for a moment it is written at the next try, and comes once", async () => {
	const peer = await Peer.join();
	const reader = await open();
	await reader.next();
	const lease = await peer.next("lease");
	await runInDurableObject(JOB.get(JOB.idFromString(lease.job)) as never, (_, { storage }) => {
		const write = storage.transactionSync.bind(storage);
		storage.transactionSync = () => {
			storage.transactionSync = write;
			throw new Error("no space");
		};
	});
	const [answer, event] = await Promise.all([deliver(lease, scaleEvent(lease, 0)), reader.next()]);
	expect([answer.status, numberOf(event!.id)]).toEqual([500, 1]);
	await peer.finish(lease);
	expect(await kinds(reader)).toEqual(REST);
	expect(await kinds(await Reader.open(`/v1/jobs/${lease.job}/events`))).toEqual([[0, "plan"], [1, 0], ...REST]);
});

it("one that the log lost is delivered again by its worker, and comes once", async () => {
	const peer = await Peer.join();
	const { reader, lease } = await told(peer);
	await reader.leave();
	const back = await Reader.open(`/v1/jobs/${lease.job}/events`, { headers: { "last-event-id": `${lease.job}.1` } });
	expect(back.response.status).toBe(200);
	await peer.finish(lease);
	expect(await kinds(back)).toEqual(REST);
	expect(await kinds(await Reader.open(`/v1/jobs/${lease.job}/events`))).toEqual([[0, "plan"], [1, 0], ...REST]);
});

it("or made again by another worker, while its reader stays", async () => {
	const peer = await Peer.join({ worker: "a" });
	const { reader, lease } = await told(peer);
	const other = await Peer.join({ worker: "b" });
	peer.release(lease, "handed-back", "preempted");
	peer.leave();
	const next = await other.next("lease");
	expect([next.job, next.attempt, next.codes]).toEqual([lease.job, 2, []]);
	await other.finish(next);
	expect(await kinds(reader)).toEqual(REST);
});

it("where the job ends before that, its reader is told so", async () => {
	const peer = await Peer.join();
	const { reader, lease } = await told(peer);
	await reader.leave();
	expect((await edge(`/v1/jobs/${lease.job}`, { method: "DELETE" })).status).toBe(204);
	const back = await Reader.open(`/v1/jobs/${lease.job}/events`, { headers: { "last-event-id": `${lease.job}.1` } });
	expect(back.response.status).toBe(200);
	expect(await kinds(back)).toEqual([[2, "cancelled"]]);
	const all = await kinds(await Reader.open(`/v1/jobs/${lease.job}/events`));
	expect(all).toEqual([
		[0, "plan"],
		[1, "plan"],
		[2, "cancelled"],
	]);
});

it("where it is planned anew, its reader has the new plan, and its scales", async () => {
	const older = await Peer.join({ worker: "older" });
	const { reader, lease } = await told(older, "&policy=stagevar");
	const newer = await Peer.join({ worker: "newer", models: [NEWER] });
	older.release(lease, "handed-back", "preempted");
	older.leave();
	const next = await newer.next("lease");
	expect(next.request.plan).toEqual(policies.stagevar.plan(NEWER, {}));
	await newer.finish(next);
	const events = await reader.rest();
	expect(events.map(({ id, data }) => [numberOf(id), data.index ?? data.type])).toEqual([
		[2, "plan"],
		[3, 0],
		[4, 1],
		[5, 2],
		[6, 3],
		[7, "final"],
	]);
	expect(events[0].data.plan.model).toBe(NEWER.digest);
});
