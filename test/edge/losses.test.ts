/** Workers whose connection, process or GPU is lost, and what becomes of their pictures. */
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, expect, it } from "vitest";
import { follow } from "../../worker/edge/job/follow.ts";
import { poolNamed } from "../../worker/edge/objects.ts";
import type { Env } from "../../worker/edge/settings.ts";
import { createJobs, getJob } from "../../worker/protocol/job-client.ts";
import type { Lease } from "../../worker/protocol/messages.ts";
import { delayed } from "./delayed.ts";
import { delivered, edge, finalEvent, health, ORIGIN, Peer, scaleEvent } from "./peer.ts";
import { everybodyLeaves, pause, Reader, until } from "./reader.ts";

afterEach(everybodyLeaves);

const open = (query = "") => Reader.open(`/v1/images/preview?prompt=x&cache=false${query}`);
const holding = ({ job, attempt }: Lease) => [{ job, attempt }];
const options = { url: ORIGIN, fetch: (url: string, init: RequestInit) => edge(url.replace(ORIGIN, ""), init) };
const scales = async (reader: Reader) => (await reader.rest()).map(({ data }) => data.index ?? data.code ?? data.type);
const WHOLE = ["plan", 0, 1, 2, 3, "final"];
const leases = (peer: Peer) => peer.inbox.filter(({ type }) => type === "lease");

it("a cut connection costs nothing: the picture goes on, and the worker that dials again has it still", async () => {
	const options = { worker: "a", instance: "one" };
	const first = await Peer.join(options);
	const other = await Peer.join({ worker: "b" });
	const reader = await open();
	const lease = await Promise.race([first.next("lease"), other.next("lease")]);
	const [holder, idle] = first.jobs.size > 0 ? [first, other] : [other, first];
	const as = holder === first ? options : { worker: "b", instance: (other.hello() as { instance: string }).instance };
	await delivered(lease, scaleEvent(lease, 0));
	holder.cut();
	// Whatever the pool thinks of the worker, its pictures arrive.
	expect((await delivered(lease, scaleEvent(lease, 1))).go).toBe("on");
	const back = await Peer.join({ ...as, holding: holding(lease) });
	back.jobs.set(lease.job, lease.attempt);
	await pause(900);
	expect([leases(back), leases(idle), back.inbox]).toEqual([[], [], []]);
	expect((await health()).workers.map(({ busy }) => busy).sort()).toEqual([0, 1]);
	await back.finish({ ...lease, codes: ["", ""] });
	expect(await scales(reader)).toEqual(WHOLE);
});

it("a worker that is back too late keeps what nobody else took, without a further attempt", async () => {
	const first = await Peer.join({ worker: "a", instance: "one" });
	const reader = await open();
	const lease = await first.next("lease");
	first.cut();
	await until(health, ({ queue }) => queue === 1);
	const back = await Peer.join({ worker: "a", instance: "one", holding: holding(lease) });
	back.jobs.set(lease.job, lease.attempt);
	expect(await health()).toMatchObject({ queue: 0, workers: [{ busy: 1 }] });
	await back.finish(lease);
	expect(await scales(reader)).toEqual(WHOLE);
	expect(back.inbox).toEqual([]);
});

it.each([
	["in time", false],
	["when its picture waits again", true],
])("what a picture took counts from its lease, though its worker was away, and is back %s", async (_, late) => {
	const options = { worker: `away-${late}`, instance: "one" };
	const first = await Peer.join(options);
	const reader = await open();
	const lease = await first.next("lease");
	await pause(700);
	first.cut();
	if (late) await until(health, ({ queue }) => queue === 1);
	const back = await Peer.join({ ...options, holding: holding(lease) });
	back.jobs.set(lease.job, lease.attempt);
	await back.finish(lease);
	expect(await scales(reader)).toEqual(WHOLE);
	const next = await open("&seed=2");
	const { job } = (await next.next())!.data;
	const running = await back.next("lease");
	const standing = await poolNamed(env as unknown as Env, "default").standing(job);
	expect(standing!.milliseconds).toBeGreaterThan(400);
	await back.finish(running);
	await next.rest();
});

it("a heartbeat from before a worker came back takes nothing away that it came back with", async () => {
	const options = { worker: "a", instance: "one" };
	const first = await Peer.join(options);
	const reader = await open();
	const lease = await first.next("lease");
	await pause(700);
	first.cut();
	const back = await Peer.join({ ...options, holding: holding(lease) });
	back.heartbeat();
	back.jobs.set(lease.job, lease.attempt);
	await pause(500);
	expect(leases(back)).toEqual([]);
	await back.finish(lease);
	expect(await scales(reader)).toEqual(WHOLE);
});

it("a job that its edge could not queue any more ends a minute later, and one that only waits does not", async () => {
	const peer = await Peer.join();
	await open("&seed=1");
	await peer.next("lease");
	const { JOB } = env as unknown as Env;
	const pool = poolNamed(env as unknown as Env, "default");
	const states: string[] = [];
	for (const placed of [true, false]) {
		const [{ id }] = await createJobs({ prompt: "x", cache: false }, options);
		if (!placed) {
			await runInDurableObject(pool as never, (_, { storage }) =>
				storage.sql.exec("DELETE FROM book WHERE job = ?", id),
			);
			await evictDurableObject(pool as never);
		}
		const job = JOB.get(JOB.idFromString(id));
		await runInDurableObject(job as never, (_, { storage }) => {
			const record = storage.kv.get<{ created: number }>("job")!;
			storage.kv.put("job", { ...record, created: record.created - 61_000 });
		});
		await evictDurableObject(job as never);
		await runDurableObjectAlarm(job as never);
		states.push((await getJob(id, options)).state);
	}
	expect(states).toEqual(["queued", "failed"]);
});

it("a job that does not answer holds up no other that its worker had", async () => {
	const lost = await Peer.join({ worker: "a", slots: 2 });
	await open("&seed=1");
	const stuck = await lost.next("lease");
	const reader = await open("&seed=2");
	await lost.next("lease");
	const answers = await delayed("outcome", (job) => job === stuck.job);
	lost.cut();
	const other = await Peer.join({ worker: "b" });
	const next = await other.next("lease");
	expect(next.request.seed).toBe(2);
	await answers();
	await other.finish(next);
	expect(await scales(reader)).toEqual(WHOLE);
	await other.finish(await other.next("lease"));
});

it("a cancel that crosses the worker's own word leaves no slot taken", async () => {
	const peer = await Peer.join();
	const pool = poolNamed(env as unknown as Env, "default");
	for (let seed = 1; seed <= 4; seed++) {
		await open(`&seed=${seed}`);
		const lease = await peer.next("lease");
		// Both at once: the pool asks the job in between.
		peer.release(lease, "handed-back", "preempted");
		await Promise.all([pool.cancel(lease.job), pool.cancel(lease.job)]);
	}
	await until(health, ({ workers }) => workers[0].busy === 0);
	const reader = await open("&seed=9");
	await peer.finish(await peer.next("lease"));
	expect(await scales(reader)).toEqual(WHOLE);
});

it("what went to another meanwhile is cancelled, and fills the slot until it is let go", async () => {
	const first = await Peer.join({ worker: "a", instance: "one" });
	const reader = await open();
	const lease = await first.next("lease");
	first.cut();
	const second = await Peer.join({ worker: "b" });
	const taken = await second.next("lease");
	expect([taken.job, taken.attempt]).toEqual([lease.job, 2]);
	const back = await Peer.join({ worker: "a", instance: "one", holding: holding(lease) });
	back.jobs.set(lease.job, lease.attempt);
	expect(await back.next("cancel")).toEqual({ type: "cancel", job: lease.job, attempt: 1 });
	expect((await delivered(lease, scaleEvent(lease, 0))).go).toBe("stop");
	const waiting = await open("&seed=2");
	await pause(100);
	expect(leases(back)).toEqual([]);
	back.release(lease);
	const next = await back.next("lease");
	expect(next.request.seed).toBe(2);
	await back.finish(next);
	await second.finish(taken);
	expect([await scales(reader), await scales(waiting)]).toEqual([WHOLE, WHOLE]);
});

it("a picture that was finished while the connection was cut is not begun again", async () => {
	const first = await Peer.join({ worker: "a", instance: "one" });
	const reader = await open();
	const lease = await first.next("lease");
	first.cut();
	for (const index of [0, 1, 2, 3]) await delivered(lease, scaleEvent(lease, index));
	await delivered(lease, finalEvent(lease));
	const back = await Peer.join({ worker: "a", instance: "one" });
	expect(await scales(reader)).toEqual(WHOLE);
	await until(health, ({ workers, queue }) => queue === 0 && workers[0].busy === 0);
	expect(leases(back)).toEqual([]);
});

it("of two processes with one name the newer one stays, and the other is told", async () => {
	const older = await Peer.join({ worker: "a" });
	const reader = await open();
	const lease = await older.next("lease");
	const newer = await Peer.join({ worker: "a" });
	expect((await older.next("refused")).reason).toMatch(/replaced by a newer process with the name a/);
	expect((await older.untilClosed()).code).toBe(1008);
	const next = await newer.next("lease");
	expect([next.job, next.attempt]).toEqual([lease.job, 2]);
	await newer.finish(next);
	expect(await scales(reader)).toEqual(WHOLE);
	expect(newer.closed).toBeNull();
});

it("pings are answered, and an idle worker that falls silent is no worker", async () => {
	const peer = await Peer.join();
	await until(
		async () => peer.pongs,
		(pongs) => pongs >= 3,
	);
	peer.hang();
	await until(health, ({ workers }) => workers.length === 0);
	expect((await peer.untilClosed()).reason).toMatch(/no heartbeat/);
	expect((await edge("/v1/images/preview?prompt=x")).status).toBe(503);
});

it("an attempt of which nothing comes goes elsewhere, and its worker gets nothing until it has let go", async () => {
	const stuck = await Peer.join({ worker: "stuck", slots: 2 });
	const reader = await open();
	const lease = await stuck.next("lease");
	await delivered(lease, scaleEvent(lease, 0));
	const begun = Date.now();
	const well = await Peer.join({ worker: "well" });
	const next = await well.next("lease");
	expect(Date.now() - begun).toBeGreaterThan(1500);
	expect([next.job, next.attempt, next.codes.length]).toEqual([lease.job, 2, 1]);
	expect((await stuck.next("cancel")).attempt).toBe(1);
	const queued = await open("&seed=2");
	await pause(100);
	expect(leases(stuck)).toEqual([]);
	stuck.release(lease, "handed-back");
	await stuck.finish(await stuck.next("lease"));
	await well.finish(next);
	expect([await scales(reader), await scales(queued)]).toEqual([WHOLE, WHOLE]);
});

it("deliveries renew the time of an attempt", async () => {
	const peer = await Peer.join();
	const reader = await open();
	const lease = await peer.next("lease");
	for (const index of [0, 1]) {
		await pause(1400);
		await delivered(lease, scaleEvent(lease, index));
	}
	expect(peer.inbox).toEqual([]);
	await peer.finish({ ...lease, codes: ["", ""] });
	expect(await scales(reader)).toEqual(WHOLE);
});

it("workers that have to stop do not use up a job's attempts", async () => {
	const peer = await Peer.join();
	const reader = await open();
	for (const attempt of [1, 2, 3, 4, 5]) {
		const lease = await peer.next("lease");
		expect(lease.attempt).toBe(attempt);
		peer.release(lease, "handed-back", "preempted");
	}
	await peer.finish(await peer.next("lease"));
	expect(await scales(reader)).toEqual(WHOLE);
});

it("a picture that was begun waits a moment for the same numerics, then goes on as mixed", async () => {
	const first = await Peer.join({ worker: "first", numerics: "a" });
	const reader = await open();
	const lease = await first.next("lease");
	expect([lease.madeUnder, lease.pace]).toEqual([null, null]);
	for (const index of [0, 1]) await delivered(lease, scaleEvent(lease, index));
	const second = await Peer.join({ worker: "second", numerics: "b" });
	first.leave();
	await pause(150);
	expect(leases(second)).toEqual([]);
	const next = await second.next("lease");
	expect(next).toMatchObject({ madeUnder: "a", pace: { scale: 1 } });
	await second.finish(next);
	const events = await reader.rest();
	expect(events.at(-1)).toMatchObject({ event: "final", data: { numerics: "mixed" } });
});

it("a reader who comes while the job is late is not told that nobody reads", async () => {
	const peer = await Peer.join();
	const reader = await open();
	const { job } = (await reader.next())!.data;
	const lease = await peer.next("lease");
	await reader.leave();
	const { JOB } = env as unknown as Env;
	const stub = JOB.get(JOB.idFromString(job));
	const late = runInDurableObject(stub as never, (_, state) => state.blockConcurrencyWhile(() => pause(1600)));
	await pause(900);
	const back = open(`&lastEventId=${job}.0`);
	await late;
	await peer.finish(lease);
	expect(await scales(await back)).toEqual([0, 1, 2, 3, "final"]);
});

it("a reader costs its job one call, however long it takes", async () => {
	const peer = await Peer.join();
	const reader = await open();
	const { job } = (await reader.next())!.data;
	const lease = await peer.next("lease");
	const { JOB } = env as unknown as Env;
	let calls = 0;
	const counted = {
		...env,
		JOB: {
			idFromString: (id: string) => JOB.idFromString(id),
			get(id: DurableObjectId) {
				const stub = JOB.get(id);
				return new Proxy(stub, {
					get:
						(_, name: keyof typeof stub) =>
						(...args: unknown[]) => {
							calls += 1;
							return (stub[name] as (...args: unknown[]) => unknown)(...args);
						},
				});
			},
		},
	} as unknown as Env;
	const types: (string | null)[] = [];
	const following = (async () => {
		for await (const row of follow(counted, job, -1, new AbortController().signal)) types.push(row?.type ?? null);
	})();
	await pause(700);
	await peer.finish(lease);
	await following;
	expect(types.filter((type) => type === null).length).toBeGreaterThanOrEqual(2);
	expect(types.filter((type) => type !== null)).toEqual(["plan", "scale", "scale", "scale", "scale", "final"]);
	expect(calls).toBe(1);
	expect(await reader.rest()).toHaveLength(5);
});
