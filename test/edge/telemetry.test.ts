/** What the edge says of itself: metrics, lines and traces. */
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, expect, it, type MockInstance, vi } from "vitest";
import app from "../../worker/edge/index.ts";
import { METRICS, metricsText, Tally } from "../../worker/edge/pool/tally.ts";
import { traceFor } from "../../worker/protocol/trace.ts";
import { ADMIN, delivered, edge, finalEvent, Peer, runs, scaleEvent } from "./peer.ts";
import { everybodyLeaves, Reader, until } from "./reader.ts";

let said: MockInstance<typeof console.log>;
beforeEach(() => {
	said = vi.spyOn(console, "log");
});
afterEach(async () => {
	vi.restoreAllMocks();
	await everybodyLeaves();
});
const lines = () => said.mock.calls.map(([line]) => JSON.parse(String(line)) as Record<string, unknown>);
const text = async () => (await edge("/metrics")).text();
const value = async (line: string) =>
	Number(new RegExp(`^${line.replace(/[{}"+]/g, "\\$&")} (\\S+)$`, "m").exec(await text())?.[1] ?? 0);

it("a finished picture is one line, and one of each metric; its trace goes from request to worker", async () => {
	const peer = await Peer.join({ worker: "gpu-1" });
	const before = await value('firstlight_pictures_total{policy="exact"}');
	const traceparent = `00-${"ab".repeat(16)}-${"cd".repeat(8)}-01`;
	const reader = await Reader.open("/v1/images/preview?prompt=a+secret+cat", {
		headers: { traceparent, "x-request-id": "request-7" },
	});
	const lease = await peer.next("lease");
	expect(lease.traceparent).toMatch(new RegExp(`^00-${"ab".repeat(16)}-[0-9a-f]{16}-01$`));
	expect(lease.traceparent).not.toBe(traceparent);
	expect(lease.requestId).toBe("request-7");
	expect(
		await value('firstlight_worker_busy{worker="gpu-1",adapter="Test adapter",software="true",draining="false"}'),
	).toBe(1);
	for (const index of runs(lease)) await delivered(lease, scaleEvent(lease, index));
	await delivered(lease, finalEvent(lease));
	const made = {
		policy: "exact",
		first: 30,
		whole: 200,
		scales: [[0, 20] as const, [3, 70] as const],
		memory: 12_345,
		traceparent: lease.traceparent,
		requestId: lease.requestId,
	};
	const { job, attempt } = lease;
	peer.jobs.delete(job);
	peer.send({ type: "release", job, attempt, outcome: "done", reason: "", made });
	await reader.rest();
	expect(
		await until(
			() => value('firstlight_pictures_total{policy="exact"}'),
			(n) => n === before + 1,
		),
	).toBeTruthy();
	const pictures = lines().filter(({ event }) => event === "picture");
	expect(pictures).toEqual([
		{
			time: expect.stringMatching(/^\d{4}-.*Z$/),
			level: "info",
			event: "picture",
			job,
			attempt: 1,
			worker: "gpu-1",
			policy: "exact",
			request: "request-7",
			traceparent: lease.traceparent,
			waited: expect.any(Number),
			first: 30,
			milliseconds: 200,
		},
	]);
	expect(await value('firstlight_worker_device_bytes{worker="gpu-1"}')).toBe(12_345);
	expect(await value('firstlight_scale_seconds_bucket{scale="3",le="0.1"}')).toBeGreaterThan(0);
	expect(await value("firstlight_queue_wait_seconds_count")).toBeGreaterThan(0);
	expect(await value("firstlight_first_preview_seconds_count")).toBeGreaterThan(0);
	// Nobody's words are in it.
	expect(JSON.stringify(lines()) + (await text())).not.toContain("secret cat");
});

it("a lease that ends without its picture is a lost one, and no picture", async () => {
	const of = () =>
		Promise.all([
			value('firstlight_pictures_total{policy="exact"}'),
			value('firstlight_leases_lost_total{cause="failed"}'),
		]);
	const [pictures, lost] = await of();
	const peer = await Peer.join({ worker: "gpu-2" });
	const reader = await Reader.open("/v1/images/preview?prompt=x");
	const { job, attempt } = await peer.next("lease");
	const made = { policy: "exact", first: null, whole: 200, scales: [], memory: 54_321 };
	peer.jobs.delete(job);
	peer.send({ type: "release", job, attempt, outcome: "done", reason: "", made });
	const again = await peer.next("lease");
	expect(again).toMatchObject({ job, attempt: attempt + 1 });
	expect(await of()).toEqual([pictures, lost + 1]);
	expect(lines().filter(({ event }) => event === "picture")).toEqual([]);
	// What the device holds is as the worker says, whatever came of it.
	expect(await value('firstlight_worker_device_bytes{worker="gpu-2"}')).toBe(54_321);
	await peer.finish(again);
	expect((await reader.rest()).at(-1)).toMatchObject({ event: "final" });
});

it("leases lost, resumes and pictures that were abandoned are counted", async () => {
	const of = async () =>
		Promise.all([
			value('firstlight_leases_lost_total{cause="failed"}'),
			value("firstlight_resumes_total"),
			value('firstlight_cancelled_total{reason="abandoned"}'),
		]);
	const [lost, resumes, abandoned] = await of();
	const peer = await Peer.join();
	const reader = await Reader.open("/v1/images/preview?prompt=x");
	peer.release(await peer.next("lease"), "handed-back");
	await peer.next("lease");
	await reader.leave();
	await peer.next("cancel");
	expect(await of()).toEqual([lost + 1, resumes + 1, abandoned + 1]);
});

it("metrics are for this machine, and for who has the scope", async () => {
	const at = (url: string, more: object, authorization = "") =>
		app.fetch(new Request(`${url}/metrics`, { headers: { authorization } }), {
			...env,
			ADMIN_SECRET: ADMIN,
			...more,
		} as never);
	expect((await at("http://localhost", {})).status).toBe(200);
	expect((await at("http://localhost", { API_KEYS: "required" })).status).toBe(401);
	expect((await at("https://edge.example", {})).status).toBe(401);
	const response = await at("https://edge.example", {}, `Bearer ${ADMIN}`);
	expect([response.status, response.headers.get("content-type")]).toEqual([
		200,
		"text/plain; version=0.0.4; charset=utf-8",
	]);
	for (const [name, [kind]] of Object.entries(METRICS))
		expect(await response.clone().text()).toContain(`# TYPE ${name} ${kind}`);
});

it("a tally is bounded, whatever it is told", () => {
	const tally = new Tally();
	for (let i = 0; i < 1000; i++) tally.count("firstlight_pictures_total", { policy: `policy "${i}"\n` });
	const made = metricsText([tally.seen([])])
		.split("\n")
		.filter((line) => line.startsWith("firstlight_pictures_total{"));
	expect(made).toHaveLength(201);
	expect(made[0]).toBe('firstlight_pictures_total{policy="policy \\"0\\"\\n"} 1');
	expect(made.at(-1)).toBe('firstlight_pictures_total{policy="other"} 800');
});

it("what several pools have seen is told as one", () => {
	const [here, there] = [new Tally(), new Tally()];
	here.count("firstlight_pictures_total", { policy: "exact" });
	for (const tally of [here, there]) {
		tally.count("firstlight_pictures_total", { policy: "stagevar" });
		tally.observe("firstlight_queue_wait_seconds", 0.2);
	}
	const queue = (value: number) => [{ name: "firstlight_queue", labels: {}, value } as const];
	const lines = metricsText([here.seen(queue(2)), there.seen(queue(3))]).split("\n");
	expect(lines.filter((line) => line.startsWith("# TYPE firstlight_queue "))).toHaveLength(1);
	expect(lines).toEqual(
		expect.arrayContaining([
			"firstlight_queue 5",
			'firstlight_pictures_total{policy="exact"} 1',
			'firstlight_pictures_total{policy="stagevar"} 2',
			'firstlight_queue_wait_seconds_bucket{le="0.1"} 0',
			'firstlight_queue_wait_seconds_bucket{le="0.25"} 2',
			"firstlight_queue_wait_seconds_count 2",
		]),
	);
});

it("a trace is gone on with where there is one", () => {
	for (const bad of [
		null,
		"",
		"x",
		`00-${"0".repeat(32)}-${"1".repeat(16)}-01`,
		`01-${"a".repeat(32)}-${"1".repeat(16)}-01`,
	])
		expect(traceFor(bad)).toMatch(/^00-(?!0{32})[0-9a-f]{32}-[0-9a-f]{16}-01$/);
	expect(traceFor(`00-${"a".repeat(32)}-${"1".repeat(16)}-00`)).toMatch(/^00-a{32}-[0-9a-f]{16}-00$/);
});
