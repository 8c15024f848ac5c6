import { runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import type { Env } from "../../worker/edge/settings.ts";
import { MAX_IMAGE_BYTES } from "../../worker/protocol/limits.ts";
import { deliver, delivered, edge, finalEvent, health, MODEL, Peer, pictureOf, scaleEvent, sha256 } from "./peer.ts";
import { everybodyLeaves, pause, Reader, until } from "./reader.ts";

const join = Peer.join;
const busy = async () => (await health()).workers.map(({ busy }) => busy);

afterEach(everybodyLeaves);

describe("GET /v1/images/preview", () => {
	it("sends plan, every scale and the final picture, without codes", async () => {
		await join({ automatic: true });
		const reader = await Reader.open("/v1/images/preview?prompt=a%20red%20apple&seed=7&format=webp");
		expect(reader.response.status).toBe(200);
		expect(Object.fromEntries(reader.response.headers)).toMatchObject({
			"content-type": "text/event-stream; charset=utf-8",
			"cache-control": "no-cache, no-transform",
			"content-encoding": "identity",
			"x-accel-buffering": "no",
			"access-control-allow-origin": "*",
		});
		const events = await reader.rest();
		expect(reader.retry).toBe(1000);
		expect(events.map(({ event }) => event)).toEqual(["plan", "scale", "scale", "scale", "scale", "final"]);
		const [plan, ...scales] = events;
		const job = plan.data.job;
		expect(events.map(({ id }) => id)).toEqual([0, 1, 2, 3, 4, 5].map((n) => `${job}.${n}`));
		expect(plan.data).toMatchObject({
			type: "plan",
			model: MODEL.id,
			policy: "exact",
			seed: 7,
			width: 32,
			height: 32,
			grids: MODEL.schedules["1:1"].grids,
		});
		expect(plan.data.plan.steps).toHaveLength(4);
		expect(scales[1].data).toEqual({
			type: "scale",
			index: 1,
			grid: [2, 2],
			stage: "semantic",
			step: 2,
			steps: 4,
			milliseconds: 1.5,
			mime: "image/webp",
			base64: pictureOf("preview 1", "webp"),
		});
		expect(events.at(-1)!.data).toMatchObject({
			type: "final",
			seed: 7,
			mime: "image/webp",
			base64: pictureOf("picture of 7", "webp"),
			sha256: sha256(pictureOf("picture of 7", "webp")),
			digest: MODEL.digest,
		});
		await until(busy, (all) => all[0] === 0);
	});

	it("sends each event the moment it exists, and comments while there is none", async () => {
		const peer = await join();
		const reader = await Reader.open("/v1/images/preview?prompt=x&policy=stagevar-released&schedule=1:1");
		expect((await reader.next())!.event).toBe("plan");
		const lease = await peer.next("lease");
		expect(lease.request).toMatchObject({ model: MODEL.id, prompt: "x", previews: "all", format: { type: "png" } });
		expect(lease.codes).toEqual([]);
		expect((await delivered(lease, scaleEvent(lease, 0))).go).toBe("on");
		expect((await reader.next())!.data.index).toBe(0);
		const second = reader.next();
		await until(
			async () => reader.comments,
			(comments) => comments >= 2,
			1000,
		);
		await delivered(lease, scaleEvent(lease, 1));
		expect((await second)!.data.index).toBe(1);
		await peer.finish({ ...lease, codes: ["", ""] });
		expect((await reader.rest()).map(({ data }) => data.index ?? data.type)).toEqual([2, "final"]);
	});

	it("chooses a random seed and says which", async () => {
		await join({ automatic: true });
		const seeds = await Promise.all(
			[1, 2].map(async () => (await (await Reader.open("/v1/images/preview?prompt=x")).rest())[0].data.seed),
		);
		expect(seeds[0]).not.toBe(seeds[1]);
	});

	it("goes on after Last-Event-ID, and answers 204 when all was seen", async () => {
		const peer = await join();
		const first = await Reader.open("/v1/images/preview?prompt=x");
		const { id } = (await first.next())!;
		const job = id!.split(".")[0];
		const lease = await peer.next("lease");
		await delivered(lease, scaleEvent(lease, 0));
		await delivered(lease, scaleEvent(lease, 1));
		await first.next();
		await first.leave();

		const second = await Reader.open("/v1/images/preview?prompt=x", { headers: { "last-event-id": `${job}.1` } });
		await peer.finish({ ...lease, codes: ["", ""] });
		const events = await second.rest();
		expect(events.map(({ id }) => id)).toEqual([2, 3, 4, 5].map((n) => `${job}.${n}`));

		const byQuery = await Reader.open(`/v1/images/preview?lastEventId=${job}.4`);
		expect((await byQuery.rest()).map(({ event }) => event)).toEqual(["final"]);
		const done = await edge("/v1/images/preview?prompt=x", { headers: { "last-event-id": `${job}.5` } });
		expect(done.status).toBe(204);
		expect(peer.inbox.filter(({ type }) => type === "lease")).toEqual([]);
	});

	it("knows jobs by their ids only, and forgets them some time after the end", async () => {
		const peer = await join();
		const reader = await Reader.open("/v1/images/preview?prompt=x");
		const { job } = (await reader.next())!.data;
		await peer.finish(await peer.next("lease"));
		await reader.rest();
		await until(
			async () => (await edge(`/v1/images/preview?lastEventId=${job}.0`)).status,
			(status) => status === 404,
		);
		for (const [id, status] of [
			[`${"ab".repeat(32)}.0`, 404],
			["nonsense", 400],
			[`${job}.-1`, 400],
			[`${job}`, 404],
		] as const) {
			const response = await edge("/v1/images/preview?prompt=x", { headers: { "last-event-id": id } });
			expect(response.status).toBe(status);
			expect(await response.json()).toMatchObject({ error: { type: "invalid_request_error", param: "lastEventId" } });
		}
	});

	it("serves two readers of one job", async () => {
		const peer = await join();
		const first = await Reader.open("/v1/images/preview?prompt=x");
		const { job } = (await first.next())!.data;
		const second = await Reader.open(`/v1/images/preview?lastEventId=${job}.0`);
		await peer.finish(await peer.next("lease"));
		expect(await second.rest()).toEqual(await first.rest());
	});

	it("does not start a picture for HEAD", async () => {
		const peer = await join();
		const response = await edge("/v1/images/preview?prompt=x", { method: "HEAD" });
		expect(response.status).toBe(200);
		await pause(100);
		expect(peer.inbox).toEqual([]);
	});

	it("stops the worker within the grace when the reader goes away", async () => {
		const peer = await join();
		const reader = await Reader.open("/v1/images/preview?prompt=x");
		const { job } = (await reader.next())!.data;
		const lease = await peer.next("lease");
		expect((await delivered(lease, scaleEvent(lease, 0))).go).toBe("on");
		await reader.next();
		const left = Date.now();
		await reader.leave();
		// By when it will be looked at, however late that is.
		const { JOB } = env as unknown as Env;
		await until(
			() => runInDurableObject(JOB.get(JOB.idFromString(job)) as never, (_, { storage }) => storage.getAlarm()),
			(at) => at !== null && at - left < 900,
		);
		expect(await peer.next("cancel")).toEqual({ type: "cancel", job, attempt: 1 });
		expect((await delivered(lease, scaleEvent(lease, 1))).go).toBe("stop");
		peer.release(lease);
		await until(busy, (all) => all[0] === 0);
		const late = await (await Reader.open(`/v1/images/preview?lastEventId=${job}.1`)).rest();
		expect(late.map(({ event, data }) => [event, data.code])).toEqual([["error", "abandoned"]]);
	});

	it("takes a reader that reads slowly for one that is there", async () => {
		const peer = await join();
		const reader = await Reader.open("/v1/images/preview?prompt=x");
		const lease = await peer.next("lease");
		await delivered(lease, scaleEvent(lease, 0));
		await pause(1500);
		expect((await delivered(lease, scaleEvent(lease, 1))).go).toBe("on");
		await peer.finish({ ...lease, codes: ["", ""] });
		expect(await reader.rest()).toHaveLength(6);
	});

	it("takes a queued job out of the queue when its reader goes away", async () => {
		const peer = await join();
		const first = await Reader.open("/v1/images/preview?prompt=x");
		const lease = await peer.next("lease");
		const queued = await Reader.open("/v1/images/preview?prompt=y");
		await queued.next();
		const length = async () => (await health()).queue;
		expect(await length()).toBe(1);
		await queued.leave();
		await until(length, (n) => n === 0);
		await peer.finish(lease);
		expect(await first.rest()).toHaveLength(6);
		expect(peer.inbox).toEqual([]);
	});

	it("ends a job that takes too long with an error", async () => {
		const peer = await join();
		const reader = await Reader.open("/v1/images/preview?prompt=x");
		const lease = await peer.next("lease");
		const events = await reader.rest();
		expect(events.at(-1)).toMatchObject({ event: "error", data: { type: "error", code: "deadline" } });
		expect((await peer.next("cancel")).job).toBe(lease.job);
		expect((await delivered(lease, scaleEvent(lease, 0))).go).toBe("stop");
	});

	it("passes on the worker's own error", async () => {
		const peer = await join();
		const reader = await Reader.open("/v1/images/preview?prompt=x");
		const lease = await peer.next("lease");
		expect((await delivered(lease, { type: "error", code: "out_of_memory", message: "The GPU is full." })).go).toBe(
			"stop",
		);
		expect((await reader.rest()).at(-1)).toMatchObject({
			event: "error",
			data: { type: "error", code: "out_of_memory", message: "The GPU is full." },
		});
	});

	it("carries the largest picture that fits, and refuses a larger one", async () => {
		const peer = await join();
		const reader = await Reader.open("/v1/images/preview?prompt=x");
		const lease = await peer.next("lease");
		const largest = pictureOf("x".repeat(MAX_IMAGE_BYTES - 8));
		await delivered(lease, { ...scaleEvent(lease, 0), base64: pictureOf("x".repeat(1_200_000)) });
		for (const index of [1, 2, 3]) await delivered(lease, scaleEvent(lease, index));
		const response = await deliver(lease, finalEvent(lease, pictureOf("x".repeat(MAX_IMAGE_BYTES))));
		expect(response.status).toBe(400);
		await delivered(lease, finalEvent(lease, largest));
		const events = await reader.rest();
		expect(events.map(({ data }) => data.base64?.length)).toEqual([undefined, 1_600_012, 24, 24, 24, largest.length]);
		expect(events.at(-1)!.data.base64 === largest).toBe(true);
		peer.release(lease);
	});
});
