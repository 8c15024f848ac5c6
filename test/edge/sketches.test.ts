/** Pictures that end early, and those that go on from another one's first scales. */
import { afterEach, expect, it } from "vitest";
import { policies } from "../../worker/policies/index.ts";
import { deliver, delivered, edge, finalEvent, MODEL, Peer, scaleEvent } from "./peer.ts";
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
