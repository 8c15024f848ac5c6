/** A lease on the real adapter, its events delivered to a server that only listens. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { kernel, write } from "../../kernels/gpu/kernel.ts";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { openModel } from "../engine/open.ts";
import type { LoadedModel } from "../engine/types.ts";
import { policies } from "../policies/index.ts";
import type { JobRequest, WorkerEvent } from "../protocol/job.ts";
import type { Lease } from "../protocol/messages.ts";
import type { StagePlan } from "../protocol/plan.ts";
import { readMetadata } from "./encode.ts";
import { DEVICE_LOST, runLease } from "./lease.ts";

// Of its own: it is lost in the end.
const gpu = await openGpu();
let model: LoadedModel;
let server: Server;
let edge: string;
let events: WorkerEvent[] = [];
/** What the server answers; by default it takes everything. */
let statusOf = (_: WorkerEvent) => 200;
beforeAll(async () => {
	model = await openModel(gpu, await openModelFolder(findModel("tiny")));
	server = createServer(async (request, response) => {
		const event: WorkerEvent = JSON.parse(Buffer.concat(await Array.fromAsync(request)).toString());
		events.push(event);
		response.writeHead(statusOf(event)).end(JSON.stringify({ go: "on", error: { code: "no" } }));
	}).listen(0);
	await once(server, "listening");
	edge = `http://localhost:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
	server.close();
	model.destroy();
});

/** As the lease below is said to have been made. */
const MADE = {
	policy: expect.any(String),
	first: expect.any(Number),
	whole: expect.any(Number),
	scales: expect.arrayContaining([[expect.any(Number), expect.any(Number)]]),
	memory: 1234,
	traceparent: undefined,
	requestId: undefined,
};
type Given = Partial<Lease> & { plan?: StagePlan; ask?: Partial<JobRequest> };
const run = async (given: Given = {}, watchdogSeconds = 60, on = model, signal = new AbortController().signal) => {
	events = [];
	const lease: Lease = {
		type: "lease",
		job: "a".repeat(64),
		attempt: 1,
		token: "token",
		deliver: "/deliver",
		request: {
			model: model.info.id,
			prompt: "a cat",
			seed: 1,
			plan: given.plan ?? policies.exact.plan(model.info, {}),
			previews: "none",
			format: { type: "png", quality: 90 },
			...given.ask,
		},
		codes: given.codes ?? [],
		madeUnder: given.madeUnder ?? null,
		pace: null,
	};
	const bench = { model: on, adapter: gpu.facts.name, edge, memory: () => 1234, watchdogSeconds };
	const outcome = await runLease(lease, bench, signal);
	return { outcome, types: events.map(({ type }) => type) };
};

test("a refused kernel fails the job for good, saying what and where, and the worker makes the next one", async () => {
	const pass = gpu.pass("test");
	const y = gpu.tensor("y", [4]);
	const tomorrow = kernel({
		name: "tomorrow",
		bindings: { y: write("f32") },
		enable: () => ["what_no_driver_knows"],
		code: () => "",
	});
	pass.run(tomorrow, { label: "a kernel of tomorrow", bindings: { y }, groups: [1] });
	pass.submit();
	const { outcome } = await run();
	expect(outcome).toEqual({ outcome: "done", reason: expect.stringContaining("a kernel of tomorrow") });
	expect(events.at(-1)).toEqual({
		type: "error",
		code: "kernel_refused",
		message: expect.stringMatching(/^tiny cannot run on .*, which refuses one of its kernels \(a kernel of tomorrow: /),
	});
	expect((events.at(-1) as { message: string }).message.length).toBeLessThan(1000);
	const next = await run();
	expect(next.outcome).toEqual({ outcome: "done", reason: "", made: MADE });
	expect(next.types.at(-1)).toBe("final");
	gpu.free(y);
});

test("a lost device is held against a picture that did not come on, and against no other", async () => {
	const lost = async (after: number) => {
		const loss = new AbortController();
		statusOf = () => {
			if (events.length === after) loss.abort(DEVICE_LOST);
			return 200;
		};
		if (after === 0) loss.abort(DEVICE_LOST);
		const { outcome } = await run({}, 60, model, loss.signal);
		statusOf = () => 200;
		return outcome;
	};
	const handed = { outcome: "handed-back", reason: "the GPU device was lost" };
	expect(await lost(0)).toEqual({ ...handed, cause: "failed" });
	expect(await lost(2)).toEqual({ ...handed, cause: "preempted" });
});

const finals = () => events.filter((event) => event.type === "final");

test("a picture carries the plan as it was settled, whoever settled it, and the same bytes", async () => {
	const exact = policies.exact.plan(model.info, {});
	const open: StagePlan = {
		...exact,
		policy: "custom",
		decide: { after: 1, measure: "high-frequency", cases: [{ below: 2, steps: [exact.steps[2], { kind: "skip" }] }] },
	};
	await run({ plan: open });
	const [whole] = finals();
	const settled = events.flatMap((event) => (event.type === "revision" ? [event.plan] : []))[0];
	const codes = events.flatMap((event) => (event.type === "scale" ? [event.codes] : [])).slice(0, 2);
	expect((await readMetadata(Buffer.from(whole.base64, "base64")))?.plan).toEqual(settled);

	// After a failover: the plan was settled by another worker.
	await run({ plan: settled, codes, madeUnder: model.numerics });
	expect(finals()[0].sha256).toBe(whole.sha256);
	expect(finals()[0].numerics).toBe(model.numerics);

	await run({ plan: settled, codes, madeUnder: "another" });
	expect(finals()[0].numerics).toBe("mixed");
	expect((await readMetadata(Buffer.from(finals()[0].base64, "base64")))?.numerics).toBe("mixed");
});

const SKETCHES: [previews: JobRequest["previews"], shown: boolean[]][] = [
	["all", [true, true]],
	["none", [false, false]],
	[1, [false, false]],
	[2, [false, true]],
	[3, [true, true]],
];
test("a sketch ends with its picture, whichever previews were asked for, and shows no others", async () => {
	const pictures = new Set<string>();
	for (const [previews, shown] of SKETCHES) {
		const format = { type: "png", quality: 90, size: { width: 80, height: 80 } } as const;
		const { outcome, types } = await run({ ask: { until: 1, previews, format } });
		expect([previews, outcome, types]).toEqual([
			previews,
			{ outcome: "done", reason: "", made: MADE },
			["scale", "scale", "final"],
		]);
		expect(events.map((event) => event.type === "scale" && event.base64 !== null).slice(0, 2)).toEqual(shown);
		const [final] = finals();
		expect(final.width).toBeLessThan(model.info.schedules[model.info.defaultSchedule].image.width);
		pictures.add(final.sha256);
	}
	expect(pictures.size).toBe(1);
	// One that ends with its plan's last scale is no sketch.
	await run({ ask: { until: 3 } });
	expect(finals()[0]).toMatchObject(model.info.schedules[model.info.defaultSchedule].image);
});

test("an event that the edge refuses ends the job; one that it has no time for is sent again", async () => {
	statusOf = ({ type }) => (type === "final" ? 413 : 200);
	expect((await run()).outcome).toEqual({ outcome: "done", reason: "413 no" });
	expect(finals()).toHaveLength(1);
	expect(events.at(-1)).toMatchObject({ type: "error", code: "delivery_refused" });
	let busy = 2;
	statusOf = ({ type }) => (type === "final" && busy-- > 0 ? [429, 503][busy] : 200);
	expect((await run()).outcome).toEqual({ outcome: "done", reason: "", made: MADE });
	expect(finals()).toHaveLength(3);
	statusOf = () => 200;
});

test("a device that gives nothing is not waited for", async () => {
	const hung = new Proxy(model, {
		get: (target, name) =>
			name === "generate"
				? async function* () {
						await new Promise(() => {});
					}
				: Reflect.get(target, name, target),
	});
	expect((await run({}, 0.2, hung)).outcome).toEqual({
		outcome: "handed-back",
		cause: "hung",
		reason: "HungError: the GPU gave nothing for 0.2 s",
	});
});

test("a lost device hands the job back", async () => {
	gpu.device.destroy();
	expect((await run()).outcome).toEqual({
		outcome: "handed-back",
		cause: "failed",
		reason: expect.stringMatching(/^DeviceError: /),
	});
	expect(events).toEqual([]);
});
