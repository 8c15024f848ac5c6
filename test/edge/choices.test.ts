/** Which policy a request gets where it leaves that open; the rule itself is worker/policies/choose.ts. */
import { afterEach, expect, it } from "vitest";
import { createJobs, getJob, removeJob } from "../../worker/protocol/job-client.ts";
import type { ModelInfo } from "../../worker/protocol/model-info.ts";
import { post } from "./client.ts";
import { edge, health, MODEL, ORIGIN, Peer } from "./peer.ts";
import { everybodyLeaves, pause, Reader, until } from "./reader.ts";

afterEach(everybodyLeaves);

/** With policies that were measured: one loses next to nothing, the other some. */
const TRADED: ModelInfo = {
	...MODEL,
	digest: `sha256:${"e5".repeat(32)}`,
	trades: {
		stagevar: { score: 0.9, delta: -0.005, speedup: 1.5 },
		"stagevar-released": { score: 0.86, delta: -0.04, speedup: 3 },
	},
};
const options = { url: ORIGIN, fetch: (url: string, init: RequestInit) => edge(url.replace(ORIGIN, ""), init) };
const open = (query: Record<string, string> = {}, headers: Record<string, string> = {}) =>
	Reader.open(`/v1/images/preview?${new URLSearchParams({ prompt: "x", ...query })}`, { headers });
/** The policy and its reason, as the plan event and the header have them. */
async function chosen(reader: Reader): Promise<[string, string]> {
	const { policy, reason, plan } = (await reader.next())!.data;
	expect(plan.policy).toBe(policy);
	expect(reader.response.headers.get("firstlight-policy")).toBe(`${policy}; reason=${reason}`);
	return [policy, reason];
}

it.each<[string, Record<string, string>, Record<string, string>, [string, string]]>([
	["nothing", {}, {}, ["stagevar", "measured"]],
	["auto", { policy: "auto" }, {}, ["stagevar", "measured"]],
	["a policy", { policy: "exact" }, { "save-data": "on" }, ["exact", "request"]],
	["a quality", { quality: "high" }, { "save-data": "on" }, ["exact", "quality-high"]],
	["a saver of data", {}, { "save-data": "on" }, ["stagevar-released", "save-data"]],
	["a slow network", {}, { ect: "2g" }, ["stagevar-released", "ect-2g"]],
	["a schedule that nothing was measured for", { schedule: "2:1" }, { ect: "2g" }, ["exact", "unmeasured"]],
	["a deadline before anything was measured", { max_ms: "1" }, {}, ["stagevar", "deadline-unmeasured"]],
])("for %s", async (_, query, headers, expected) => {
	await Peer.join({ models: [TRADED], worker: "never-measured" });
	expect(await chosen(await open(query, headers))).toEqual(expected);
});

it("a browser is asked for the hints that choose, and what they chose is not another's", async () => {
	await Peer.join({ models: [TRADED], worker: "never-measured" });
	const reader = await open();
	const head = await edge("/v1/images/preview?prompt=x", { method: "HEAD" });
	const wrong = await edge("/v1/images/preview", { headers: { origin: "https://a.example" } });
	for (const { headers } of [reader.response, head, wrong]) {
		expect(headers.get("accept-ch")).toBe("Save-Data, ECT");
		expect(headers.get("vary")).toMatch(/(^|, )Save-Data, ECT(,|$)/);
	}
	expect((await edge("/v1/models")).headers.get("accept-ch")).toBeNull();
});

it("of a model that was never measured, and of a plan of one's own", async () => {
	await Peer.join();
	expect(await chosen(await open())).toEqual(["exact", "unmeasured"]);
	const { plan } = (await (await open({ policy: "stagevar" })).next())!.data;
	expect(await chosen(await open({ plan: JSON.stringify(plan) }))).toEqual(["custom", "request"]);
});

it("under load late scales are thinned before anybody is refused, but for who named a policy", async () => {
	await Peer.join({ models: [TRADED] });
	for (const _ of [1, 2, 3]) expect(await chosen(await open({ policy: "exact" }))).toEqual(["exact", "request"]);
	expect(await chosen(await open())).toEqual(["stagevar-released", "load"]);
	expect((await open({ policy: "exact" })).response.status).toBe(200);
	expect((await open()).response.status).toBe(503);
});

it("a deadline, by what the worker that will have it took before", async () => {
	const model = { ...TRADED, digest: `sha256:${"f6".repeat(32)}` };
	const peer = await Peer.join({ models: [model], worker: "slow" });
	const first = await open({ quality: "high" });
	const lease = await peer.next("lease");
	await pause(1200);
	await peer.finish(lease);
	await first.rest();
	await pause(50);
	const [job] = await createJobs({ prompt: "x", quality: "high" }, options);
	const took = 1000 * job.estimate_seconds!;
	expect(took).toBeGreaterThanOrEqual(1100);
	/** Of a picture that may take this share of what the edge expects of another one like the first. */
	const within = async (share: number) => chosen(await open({ quality: "high", max_ms: `${Math.ceil(share * took)}` }));
	const running = await peer.next("lease");
	// One is before it: what is left to wait counts, too.
	expect(await within(0.5)).toEqual(["stagevar-released", "deadline-missed"]);
	await removeJob(job.id, options);
	peer.release(running);
	peer.release(await peer.next("lease"));
	await everybodyLeaves();
	await Peer.join({ models: [model], worker: "slow", slots: 4 });
	// What nobody waits for any more is over: a picture that comes now begins at once.
	await until(health, ({ queue }) => queue === 0);
	expect(await within(10)).toEqual(["exact", "quality-high"]);
	// Exact takes all of it, stagevar two thirds, stagevar-released one.
	expect(await within(0.82)).toEqual(["stagevar", "deadline"]);
	expect(await within(0.5)).toEqual(["stagevar-released", "deadline"]);
	expect(await within(0.1)).toEqual(["stagevar-released", "deadline-missed"]);
});

it("OpenAI's quality is a wish of its own, jobs choose as the preview route does", async () => {
	const peer = await Peer.join({ models: [TRADED], slots: 4 });
	const answer = post({ prompt: "x" });
	await peer.finish(await peer.next("lease"));
	expect((await answer).headers.get("firstlight-policy")).toBe("exact; reason=quality-high");
	const thin = post({ prompt: "x", policy: "auto" }, { "content-type": "application/json", "save-data": "on" });
	await peer.finish(await peer.next("lease"));
	expect((await thin).headers.get("firstlight-policy")).toBe("stagevar-released; reason=save-data");
	const made = await post({ prompt: "x" }, { "content-type": "application/json" }, "/v1/jobs");
	expect(made.headers.get("firstlight-policy")).toBe("stagevar; reason=measured");
	const { data } = (await made.json()) as { data: { id: string }[] };
	expect((await getJob(data[0].id, options)).policy).toBe("stagevar");
	await peer.finish(await peer.next("lease"));
	const saver = { "content-type": "application/json", "save-data": "on" };
	const refined = await post({ policy: "auto" }, saver, `/v1/jobs/${data[0].id}/refine`);
	expect(refined.headers.get("firstlight-policy")).toBe("stagevar-released; reason=save-data");
	await peer.finish(await peer.next("lease"));
});
