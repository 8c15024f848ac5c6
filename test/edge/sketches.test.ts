/** Pictures that end early, and those that go on from another one's first scales. */
import { afterEach, expect, it } from "vitest";
import { policies } from "../../worker/policies/index.ts";
import { CAPABILITIES } from "../../worker/protocol/capabilities.ts";
import { branchJob, createJobs, getJob, refineJob, removeJob } from "../../worker/protocol/job-client.ts";
import { deliver, delivered, edge, finalEvent, MODEL, ORIGIN, Peer, scaleEvent } from "./peer.ts";
import { everybodyLeaves, Reader } from "./reader.ts";

afterEach(everybodyLeaves);

const path = (query: Record<string, string>) =>
	`/v1/images/preview?${new URLSearchParams({ prompt: "x", seed: "1", ...query })}`;
const { steps } = policies.exact.plan(MODEL, {});
const open = {
	...policies.exact.plan(MODEL, {}),
	policy: "custom",
	decide: { after: 1, measure: "high-frequency", cases: [{ below: 0.5, steps: [steps[2], { kind: "skip" }] }] },
};

it.each<[string, Record<string, string>, string]>([
	["a scale that the plan leaves out", { policy: "stagevar-released", until: "3" }, "until"],
	["a scale that there is not", { until: "4" }, "until"],
	["a scale that may be left out yet", { plan: JSON.stringify(open), until: "3" }, "until"],
	["a scale that is no number", { until: "x" }, "until"],
	["scales of no job", { scales: "2" }, "scales"],
	["a job without scales", { from: "a".repeat(64) }, "scales"],
])("refuses to end or begin with %s, and queues nothing", async (_, query, param) => {
	const peer = await Peer.join();
	const response = await edge(path(query));
	expect(response.status).toBe(400);
	expect(await response.json()).toMatchObject({ error: { param } });
	expect(await (await edge("/healthz")).json()).toMatchObject({ queue: 0 });
	expect(peer.inbox.filter(({ type }) => type === "lease")).toEqual([]);
});

it("a sketch ends with its last scale, and a picture of that scale's size; another goes on from it", async () => {
	const peer = await Peer.join();
	const reader = await Reader.open(path({ until: "1" }));
	const { job } = (await reader.next())!.data as { job: string };
	const lease = await peer.next("lease");
	expect(lease.request.until).toBe(1);
	for (const index of [0, 1]) await delivered(lease, scaleEvent(lease, index));
	expect((await deliver(lease, scaleEvent(lease, 2))).status).toBe(400);
	expect((await deliver(lease, finalEvent(lease))).status).toBe(400);
	await delivered(lease, { ...finalEvent(lease), width: 16, height: 16 });
	peer.release(lease);
	expect((await reader.rest()).map(({ event }) => event)).toEqual(["scale", "scale", "final"]);

	const whole = await Reader.open(path({ from: job, scales: "2" }));
	const next = await peer.next("lease");
	expect(next.codes).toEqual([0, 1].map((index) => scaleEvent(lease, index).codes));
	expect(next.madeUnder).toBe("numerics-1");
	await peer.finish(next);
	expect((await whole.rest()).map(({ event }) => event)).toEqual(["plan", ...Array(4).fill("scale"), "final"]);
});

const options = { url: ORIGIN, fetch: (url: string, init: RequestInit) => edge(url.replace(ORIGIN, ""), init) };

/** A job that ends after its second scale. */
async function sketch(peer: Peer, more: object = {}) {
	const [job] = await createJobs({ prompt: "x", seed: 3, until: 1, cache: false, ...more }, options);
	const lease = await peer.next("lease");
	for (const index of [0, 1]) await delivered(lease, scaleEvent(lease, index));
	await delivered(lease, { ...finalEvent(lease), width: 16, height: 16 });
	peer.release(lease);
	return { job, lease };
}

it("refine finishes a job by another plan from its own first scales: as many as there are, or fewer", async () => {
	const peer = await Peer.join();
	const { job, lease } = await sketch(peer, { format: "webp" });
	const refined = await refineJob(job.id, { policy: "stagevar", format: "jpeg" }, options);
	expect(refined).toMatchObject({ policy: "stagevar", seed: job.seed, state: "running", scales: { made: 2, of: 4 } });
	const next = await peer.next("lease");
	expect(next.request).toMatchObject({ prompt: "x", seed: 3, format: { type: "jpeg" } });
	expect([next.codes, next.madeUnder]).toEqual([[0, 1].map((index) => scaleEvent(lease, index).codes), "numerics-1"]);
	expect(next.request.trunk).toBeUndefined();
	await peer.finish(next);
	expect((await getJob(refined.id, options)).state).toBe("done");

	await refineJob(job.id, { scales: 1 }, options);
	const fewer = await peer.next("lease");
	expect([fewer.codes.length, fewer.request.plan.policy]).toEqual([1, "exact"]);
	await peer.finish(fewer);
	// What hangs on a decision of the plan's own is made anew, however many scales there are.
	await refineJob(
		refined.id,
		{ plan: { ...open, decide: { ...open.decide, after: 0, cases: [{ below: 0.5, steps: steps.slice(1) }] } } },
		options,
	);
	const decided = await peer.next("lease");
	expect(decided.codes.length).toBe(1);
	await removeJob(decided.job, options);
});

it("a size is left to the picture that finishes a sketch", async () => {
	const peer = await Peer.join();
	const { job } = await sketch(peer, { size: "64x64" });
	expect(await getJob(job.id, options)).toMatchObject({ state: "done", width: 32, height: 32 });
	const refined = await refineJob(job.id, {}, options);
	const next = await peer.next("lease");
	expect(next.request.format.size).toEqual({ width: 64, height: 64 });
	await peer.finish(next);
	expect(await getJob(refined.id, options)).toMatchObject({ state: "done", width: 64, height: 64 });
});

it("a sketch that is planned anew for another version of its model has no other size", async () => {
	const older = await Peer.join();
	const [job] = await createJobs({ prompt: "x", until: 1, size: "64x64", cache: false }, options);
	await older.next("lease");
	const newer = await Peer.join({ worker: "newer", models: [{ ...MODEL, digest: `sha256:${"d4".repeat(32)}` }] });
	older.leave();
	const lease = await newer.next("lease");
	for (const index of [0, 1]) await delivered(lease, scaleEvent(lease, index));
	await delivered(lease, { ...finalEvent(lease), width: 16, height: 16 });
	newer.release(lease);
	expect(await getJob(job.id, options)).toMatchObject({ state: "done", width: 32, height: 32 });
});

it("refine ends where it is told to, from the scales before that", async () => {
	const peer = await Peer.join();
	const { job, lease } = await sketch(peer);
	const again = await refineJob(job.id, { policy: "stagevar", until: 1 }, options);
	const next = await peer.next("lease");
	expect(next.codes).toEqual([scaleEvent(lease, 0).codes]);
	await delivered(next, scaleEvent(next, 1));
	await delivered(next, { ...finalEvent(next), width: 16, height: 16 });
	peer.release(next);
	expect(await getJob(again.id, options)).toMatchObject({ state: "done", scales: { made: 2, of: 2 } });
});

it("branch makes siblings of other seeds that share first scales, and they know whose these are", async () => {
	const peer = await Peer.join({ slots: 4 });
	const { job, lease } = await sketch(peer);
	const siblings = await branchJob(job.id, { from: 2, count: 3 }, options);
	expect(new Set([job.seed, ...siblings.map(({ seed }) => seed)]).size).toBe(4);
	const leases = [await peer.next("lease"), await peer.next("lease"), await peer.next("lease")];
	for (const { codes, request } of leases) {
		expect(codes).toEqual([0, 1].map((index) => scaleEvent(lease, index).codes));
		expect(request.trunk).toEqual({ seed: 3, scales: 2 });
	}
	await Promise.all(leases.map((each) => peer.finish(each)));
	// The same again, and a sibling's own finish: its first scales are still not its own.
	expect((await branchJob(job.id, { from: 1, count: 1 }, options))[0].seed).toBe(siblings[0].seed);
	await peer.finish(await peer.next("lease"));
	await refineJob(siblings[1].id, { policy: "stagevar", scales: 3 }, options);
	const finished = await peer.next("lease");
	expect([finished.codes.length, finished.request.trunk]).toEqual([3, { seed: 3, scales: 2 }]);
	await peer.finish(finished);
	const [chosen] = await branchJob(job.id, { from: 2, seed: 9 }, options);
	expect(chosen.seed).toBe(9);
	await peer.finish(await peer.next("lease"));
});

it("a sibling of a sibling says whose each of its first scales are", async () => {
	const peer = await Peer.join({ capabilities: CAPABILITIES });
	const { job } = await sketch(peer);
	const branched = async (id: string, from: number, seed: number) => {
		const [{ id: sibling }] = await branchJob(id, { from, seed }, options);
		const { request, ...lease } = await peer.next("lease");
		await peer.finish({ request, ...lease });
		return { id: sibling, trunk: request.trunk };
	};
	const first = await branched(job.id, 1, 5);
	expect(first.trunk).toEqual({ seed: 3, scales: 1 });
	const second = await branched(first.id, 2, 7);
	expect(second.trunk).toEqual({ seed: 5, scales: 2, before: { seed: 3, scales: 1 } });
	const third = await branched(second.id, 3, 9);
	expect(third.trunk).toEqual({ seed: 7, scales: 3, before: { seed: 5, scales: 2, before: { seed: 3, scales: 1 } } });
	// Of what they share with one further up, that one is named; of a seed's own scales nobody is.
	expect((await branched(third.id, 1, 11)).trunk).toEqual({ seed: 3, scales: 1 });
	expect((await branched(third.id, 2, 5)).trunk).toEqual({ seed: 3, scales: 1 });
});

it("siblings wait for a worker that can make every one of them", async () => {
	const peer = await Peer.join();
	const { job } = await sketch(peer);
	peer.leave();
	await Peer.join({ worker: "early", slots: 2, capabilities: ["png", "webp", "jpeg"] });
	// The first one would be the picture's own.
	await expect(branchJob(job.id, { from: 1, count: 2, seed: 3 }, options)).rejects.toThrow(/worker/);
});

it.each<[string, string, object, string]>([
	["more scales than there are", "branch", { from: 3 }, "scales"],
	["no number of scales", "branch", {}, "from"],
	["ten siblings", "branch", { from: 1, count: 10 }, "count"],
	["more siblings than are queued here", "branch", { from: 1, count: 9 }, "count"],
	["more scales of its own", "refine", { scales: 3 }, "scales"],
	["an end before what it has", "refine", { until: 0 }, "until"],
	["an end with what it has", "refine", { scales: 2, until: 1 }, "until"],
	["an end with what siblings share", "branch", { from: 2, until: 1 }, "until"],
	["another prompt", "refine", { prompt: "y" }, "prompt"],
	["no such policy", "refine", { policy: "nope" }, "policy"],
])("refuses to go on with %s", async (_, route, body, param) => {
	const peer = await Peer.join();
	const { job } = await sketch(peer);
	const response = await edge(`/v1/jobs/${job.id}/${route}`, {
		method: "POST",
		headers: { "content-type": "application/json" },
		body: JSON.stringify(body),
	});
	expect([response.status, await response.json()]).toEqual([
		400,
		expect.objectContaining({ error: expect.objectContaining({ param }) }),
	]);
});

it("there is nothing to go on from where a job has no scale yet, or is deleted, or its model is gone", async () => {
	const peer = await Peer.join();
	const [job] = await createJobs({ prompt: "x", cache: false }, options);
	await expect(refineJob(job.id, {}, options)).rejects.toMatchObject({ status: 400 });
	await removeJob(job.id, options);
	await removeJob(job.id, options);
	await expect(refineJob(job.id, {}, options)).rejects.toMatchObject({ status: 404, code: "job_not_found" });
	peer.release(await peer.next("lease"));
	const { job: other } = await sketch(peer);
	peer.leave();
	await Peer.join({ worker: "newer", models: [{ ...MODEL, digest: `sha256:${"d4".repeat(32)}` }] });
	await expect(refineJob(other.id, {}, options)).rejects.toMatchObject({ status: 404, code: "model_not_found" });
});
