/** Pictures that were made before are found again, by who asked for them, for as long as they are kept. */
import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, expect, it } from "vitest";
import app from "../../worker/edge/index.ts";
import type { NewJob } from "../../worker/edge/objects.ts";
import type { Env } from "../../worker/edge/settings.ts";
import { policies } from "../../worker/policies/index.ts";
import { createJobs, getJob, removeJob } from "../../worker/protocol/job-client.ts";
import { post } from "./client.ts";
import { delivered, edge, finalEvent, MODEL, newKey, ORIGIN, Peer, scaleEvent } from "./peer.ts";
import { everybodyLeaves, pause, Reader, until } from "./reader.ts";

afterEach(everybodyLeaves);

let seed = 5000;
const path = (query: Record<string, string>) => `/v1/images/preview?${new URLSearchParams({ prompt: "x", ...query })}`;
const read = async (query: Record<string, string>, headers: Record<string, string> = {}) =>
	(await Reader.open(path(query), { headers })).rest();
/** The picture's events, made by the peer. */
async function made(peer: Peer, query: Record<string, string>, headers: Record<string, string> = {}) {
	const reader = await Reader.open(path(query), { headers });
	await peer.finish(await peer.next("lease"));
	return reader.rest();
}
const job = (events: { data: { job?: string } }[]) => events[0].data.job!;
const options = { url: ORIGIN, fetch: (url: string, init: RequestInit) => edge(url.replace(ORIGIN, ""), init) };

it("the same request is answered from the finished job, as a job of its own", async () => {
	const peer = await Peer.join();
	const query = { seed: `${seed++}` };
	const first = await made(peer, query);
	expect(first[0].data.cached).toBeUndefined();
	const again = await read(query);
	expect(again[0].data).toMatchObject({ cached: true, seed: first[0].data.seed, plan: first[0].data.plan });
	expect(job(again)).not.toBe(job(first));
	expect(again.slice(1).map(({ event, data }) => [event, data])).toEqual(
		first.slice(1).map(({ event, data }) => [event, data]),
	);
	// Whoever deletes one has not deleted the other's.
	await removeJob(job(first), options);
	expect(await getJob(job(again), options)).toMatchObject({ state: "done", cached: true, scales: { made: 4, of: 4 } });
	expect((await read(query))[0].data.cached).toBe(true);
	expect(peer.inbox).toEqual([]);
	// And one can go on from it.
	const branch = await Reader.open(path({ from: job(again), scales: "2", seed: `${seed++}` }));
	const lease = await peer.next("lease");
	expect(lease.codes).toEqual([0, 1].map((index) => scaleEvent(lease, index).codes));
	await peer.finish(lease);
	await branch.rest();
});

it("nor is a job kept longer by it than it is said: deleted, it is found no more", async () => {
	const peer = await Peer.join();
	const query = { seed: `${seed++}` };
	const first = await made(peer, query);
	await removeJob(job(first), options);
	expect((await made(peer, query))[0].data.cached).toBeUndefined();
	await pause(2500);
	expect((await made(peer, query))[0].data.cached).toBeUndefined();
});

it("is made anew where its copy dies half done, which ends by itself if nobody tidies up", async () => {
	const peer = await Peer.join();
	const query = { seed: `${seed++}` };
	await made(peer, query);
	const { JOB } = env as unknown as Env;
	let alarm: number | null = null;
	const get = (id: DurableObjectId) => {
		const copy = async (job: NewJob, finished: string) => {
			await runInDurableObject(JOB.get(id) as never, (object: { env: Env }, state) => {
				const bucket = object.env.PICTURE_BUCKET!;
				const put = async () => {
					await pause(50);
					object.env.PICTURE_BUCKET = bucket;
					state.abort("the power went");
				};
				object.env.PICTURE_BUCKET = { get: (key: string) => bucket.get(key), put } as unknown as R2Bucket;
			});
			await JOB.get(id)
				.copy(job, finished)
				.finally(async () => {
					alarm = await runInDurableObject(JOB.get(id) as never, (_, { storage }) => storage.getAlarm());
				});
		};
		type Calls = Record<string, (...args: unknown[]) => unknown>;
		return new Proxy(JOB.get(id) as unknown as Calls, {
			get: (stub, name: string) => (name === "copy" ? copy : (...args: unknown[]) => stub[name](...args)),
		});
	};
	const jobs = { newUniqueId: () => JOB.newUniqueId(), idFromString: (id: string) => JOB.idFromString(id), get };
	const answer = app.fetch(new Request(`${ORIGIN}${path(query)}`), { ...env, JOB: jobs } as never);
	await peer.finish(await peer.next("lease"));
	const events = await new Reader(await answer).rest();
	expect([events[0].data.cached, events.at(-1)!.event]).toEqual([undefined, "final"]);
	expect(alarm).toBeGreaterThan(0);
});

it.each<[string, Record<string, string>, Record<string, string>]>([
	["another prompt", { prompt: "y" }, {}],
	["another seed", { seed: "77" }, {}],
	["another plan", { policy: "stagevar" }, {}],
	["another schedule", { schedule: "2:1" }, {}],
	["another format", { format: "webp" }, {}],
	["another end", { until: "3" }, {}],
	["a field that says so", { cache: "false" }, {}],
	["a header that says so", {}, { "cache-control": "no-cache" }],
])("is made anew for %s", async (_, other, headers) => {
	const peer = await Peer.join();
	const query = { seed: `${seed++}` };
	await made(peer, query);
	expect((await made(peer, { ...query, ...other }, headers))[0].data.cached).toBeUndefined();
});

it("is made anew for another caller", async () => {
	const peer = await Peer.join();
	const query = { seed: `${seed++}` };
	await made(peer, query);
	expect((await made(peer, query, { authorization: `Bearer ${await newKey()}` }))[0].data.cached).toBeUndefined();
});

it("is made anew where its numerics are not to be had any more, or were never one", async () => {
	const peer = await Peer.join();
	const query = { seed: `${seed++}` };
	await made(peer, query);
	const mixed = { seed: `${seed++}` };
	const reader = await Reader.open(path(mixed));
	const begun = await peer.next("lease");
	await delivered(begun, scaleEvent(begun, 0));
	peer.leave();
	const other = await Peer.join({ worker: "other", numerics: "numerics-2" });
	await other.finish(await other.next("lease"));
	expect((await reader.rest()).at(-1)!.data.numerics).toBe("mixed");
	for (const each of [query, mixed]) expect((await made(other, each))[0].data.cached).toBeUndefined();
	expect((await read(query))[0].data.cached).toBe(true);
});

it("a picture whose plan was settled on the way is found by the plan that was asked for", async () => {
	const peer = await Peer.join();
	const { steps } = policies.exact.plan(MODEL, {});
	const decide = { after: 1, measure: "high-frequency", cases: [{ below: 0.5, steps: [steps[2], { kind: "skip" }] }] };
	const plan = { ...policies.exact.plan(MODEL, {}), policy: "custom", decide };
	const query = { seed: `${seed++}`, plan: JSON.stringify(plan) };
	const reader = await Reader.open(path(query));
	const lease = await peer.next("lease");
	const settled = { ...plan, decide: undefined, steps: [...steps.slice(0, 3), { kind: "skip" }] };
	for (const index of [0, 1]) await delivered(lease, scaleEvent(lease, index));
	await delivered(lease, { type: "revision", after: 1, measured: 0.1, plan: settled } as never);
	await delivered(lease, scaleEvent(lease, 2));
	await delivered(lease, finalEvent(lease));
	peer.release(lease);
	const first = await reader.rest();
	const again = await read(query);
	expect(again[0].data.cached).toBe(true);
	expect(again.slice(1).map(({ data }) => data)).toEqual(first.slice(1).map(({ data }) => data));
	expect((await getJob(job(again), options)).plan.steps).toEqual(settled.steps);
});

it("a picture that others began, or that ended early by an error, is found by nobody", async () => {
	const peer = await Peer.join();
	const own = `${seed++}`;
	const trunk = await made(peer, { seed: own, policy: "stagevar" });
	// Finished by another plan than it was begun with: not what that plan alone would give.
	await made(peer, { seed: own, from: job(trunk), scales: "2" });
	expect((await made(peer, { seed: own }))[0].data.cached).toBeUndefined();
});

it("OpenAI's route and jobs find it too, and say so", async () => {
	const peer = await Peer.join({ automatic: true });
	const body = { prompt: "x", seed: seed++ };
	const pictures = async () => ((await (await post(body)).json()) as { data: object[] }).data;
	const once = await pictures();
	expect(once[0]).not.toHaveProperty("cached");
	expect((await pictures())[0]).toEqual({ ...once[0], cached: true });
	await post({ ...body, stream: true, partial_images: 0 }).then((response) => response.text());
	const made = (await createJobs(body, options))[0];
	expect(made).toMatchObject({ cached: false });
	await until(
		() => getJob(made.id, options),
		({ state }) => state === "done",
	);
	const found = (await createJobs({ ...body, n: 2 }, options)).map(({ cached, state }) => [cached, state]);
	expect(found[0]).toEqual([true, "done"]);
	expect(found[1][0]).toBe(false);
	peer.leave();
});
