/** Plans that leave their rest open, and are settled by what a worker measures. */
import { afterEach, expect, it } from "vitest";
import { policies } from "../../worker/policies/index.ts";
import type { Lease } from "../../worker/protocol/messages.ts";
import { type StagePlan, settle } from "../../worker/protocol/plan.ts";
import { deliver, delivered, edge, MODEL, Peer, runs, scaleEvent } from "./peer.ts";
import { everybodyLeaves, Reader } from "./reader.ts";

afterEach(everybodyLeaves);

const { steps } = policies.exact.plan(MODEL, {});
/** Leaves the last scale out where little is measured after the second. */
const open: StagePlan = {
	...policies.exact.plan(MODEL, {}),
	policy: "custom",
	steps,
	decide: { after: 1, measure: "high-frequency", cases: [{ below: 0.5, steps: [steps[2], { kind: "skip" }] }] },
};
const revision = (measured: number, plan = settle(open, measured)) => ({
	type: "revision" as const,
	after: 1,
	measured,
	plan,
});
const ask = () => Reader.open(`/v1/images/preview?${new URLSearchParams({ prompt: "x", plan: JSON.stringify(open) })}`);
async function refused(lease: Lease, event: unknown): Promise<string> {
	const response = await deliver(lease, event);
	expect(response.status).toBe(400);
	return ((await response.json()) as { error: { message: string } }).error.message;
}

it("is settled once, told to the reader, and remembered by a later attempt", async () => {
	const peer = await Peer.join();
	const reader = await ask();
	expect((await reader.next())!.data.plan).toEqual(open);
	const lease = await peer.next("lease");
	expect(await refused(lease, revision(0.1))).toMatch(/settled after scale 1/);
	for (const scale of [0, 1]) await delivered(lease, scaleEvent(lease, scale));
	expect(await refused(lease, scaleEvent(lease, 2))).toMatch(/scale 2 before the plan is settled/);
	expect(await refused(lease, revision(0.1, settle(open, 0.9)))).toMatch(/does not allow this revision/);
	expect(await refused(lease, { ...revision(0.1), after: 0 })).toMatch(/settled after scale 1, not after 0/);
	expect((await delivered(lease, revision(0.1))).go).toBe("on");
	// Its answer may have been lost.
	expect((await delivered(lease, revision(0.1))).go).toBe("on");
	expect(await refused(lease, revision(0.9))).toMatch(/the plan is settled/);
	peer.release(lease, "handed-back");

	const next = await peer.next("lease");
	expect(next.request.plan).toEqual(settle(open, 0.1));
	expect([next.codes.length, runs(next)]).toEqual([2, [0, 1, 2]]);
	await peer.finish(next);
	expect((await reader.rest()).map(({ event, data }) => [event, data.index ?? data.plan?.steps.length])).toEqual([
		["scale", 0],
		["scale", 1],
		["revision", 4],
		["scale", 2],
		["final", undefined],
	]);
});

it("does not disturb who waits for the whole picture", async () => {
	const peer = await Peer.join();
	const answer = edge("/v1/images/generations", {
		method: "POST",
		headers: { "content-type": "application/json" },
		body: JSON.stringify({ prompt: "x", plan: open }),
	});
	const lease = await peer.next("lease");
	for (const scale of [0, 1]) await delivered(lease, scaleEvent(lease, scale));
	await delivered(lease, revision(0.9));
	await peer.finish({ ...lease, codes: ["", ""] });
	expect(await (await answer).json()).toMatchObject({ policy: "custom", data: [{ b64_json: expect.any(String) }] });
});
