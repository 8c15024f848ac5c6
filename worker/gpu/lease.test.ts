/** A lease on the real adapter, its events delivered to a server that only listens. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { kernel, write } from "../../kernels/gpu/kernel.ts";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { openModel } from "../engine/open.ts";
import type { LoadedModel } from "../engine/types.ts";
import { policies } from "../policies/index.ts";
import type { WorkerEvent } from "../protocol/job.ts";
import type { Lease } from "../protocol/messages.ts";
import { runLease } from "./lease.ts";

let gpu: Gpu;
let model: LoadedModel;
let server: Server;
let edge: string;
let events: WorkerEvent[] = [];
beforeAll(async () => {
	gpu = await openGpu();
	model = await openModel(gpu, await openModelFolder(findModel("tiny")));
	server = createServer(async (request, response) => {
		events.push(JSON.parse(Buffer.concat(await Array.fromAsync(request)).toString()));
		response.end(JSON.stringify({ go: "on" }));
	}).listen(0);
	await once(server, "listening");
	edge = `http://localhost:${(server.address() as AddressInfo).port}`;
});
afterAll(() => {
	server.close();
	model.destroy();
	gpu.destroy();
});

const run = async () => {
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
			plan: policies.exact.plan(model.info, {}),
			previews: "none",
			format: { type: "png", quality: 90 },
		},
		codes: [],
	};
	const outcome = await runLease(lease, model, gpu.facts.name, edge, new AbortController().signal);
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
	expect(next.outcome).toEqual({ outcome: "done", reason: "" });
	expect(next.types.at(-1)).toBe("final");
	gpu.free(y);
});

test("a lost device hands the job back", async () => {
	gpu.device.destroy();
	expect((await run()).outcome).toEqual({ outcome: "handed-back", reason: expect.stringMatching(/^DeviceError: /) });
	expect(events).toEqual([]);
});
