/** Real workerd, a real GPU worker process, real clients. */
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import OpenAI from "openai";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { readMetadata } from "../../worker/gpu/encode.ts";
import { follow } from "../../worker/protocol/client.ts";
import { branchJob, createJobs, getJob, refineJob } from "../../worker/protocol/job-client.ts";
import { Firstlight, type SseEvent, sse } from "./firstlight.ts";

let firstlight: Firstlight;
beforeAll(async () => {
	firstlight = await Firstlight.start({ RETURN_SECONDS: "60" });
});
afterAll(() => firstlight?.stop());

const preview = (query: Record<string, string>, init?: RequestInit) => {
	const all = new URLSearchParams({ prompt: "a photo of a cat", cache: "false", ...query });
	return fetch(`${firstlight.url}/v1/images/preview?${all}`, init);
};
const size = async (bytes: Buffer) => {
	const { width, height } = await sharp(bytes).metadata();
	return { width, height };
};
const base64 = (event: SseEvent) => Buffer.from(String(event.data.base64), "base64");

describe("the preview stream", () => {
	it.each([
		["exact", 4, "png"],
		["stagevar", 4, "webp"],
		["stagevar-released", 3, "jpeg"],
	])("%s gives the plan, every executed scale in order, then the picture", async (policy, scales, format) => {
		const events = await Array.fromAsync(sse(await preview({ policy, format, seed: "7" })));
		expect(events.map(({ event }) => event)).toEqual(["plan", ...Array(scales).fill("scale"), "final"]);
		expect(events.slice(1, -1).map(({ data }) => data.index)).toEqual(Array.from({ length: scales }, (_, i) => i));
		for (const scale of events.slice(1, -1)) {
			const [height, width] = scale.data.grid as number[];
			expect(await size(base64(scale))).toEqual({ width: width * 16, height: height * 16 });
		}
		const final = events[events.length - 1];
		const bytes = base64(final);
		expect(await size(bytes)).toEqual({ width: 64, height: 64 });
		expect(createHash("sha256").update(bytes).digest("hex")).toBe(final.data.sha256);
		expect(await readMetadata(bytes)).toMatchObject({
			prompt: "a photo of a cat",
			seed: 7,
			model: "tiny",
			plan: { policy },
		});
	});

	it("gives the same picture for the same seed, and always returns the seed", async () => {
		const once = async (seed?: number) =>
			(await Array.fromAsync(sse(await preview(seed === undefined ? {} : { seed: String(seed) })))).at(-1) as SseEvent;
		const random = await once();
		const again = await once(random.data.seed as number);
		expect(again.data.sha256).toBe(random.data.sha256);
	});

	it("goes on after the last event a reader saw, and ends with 204", async () => {
		const events = await Array.fromAsync(sse(await preview({ seed: "3" })));
		const resumed = await Array.fromAsync(sse(await preview({}, { headers: { "last-event-id": events[2].id } })));
		expect(resumed).toEqual(events.slice(3));
		expect((await preview({}, { headers: { "last-event-id": (events.at(-1) as SseEvent).id } })).status).toBe(204);
	});
});

describe("the openai client", () => {
	const client = () => new OpenAI({ baseURL: `${firstlight.url}/v1`, apiKey: "unused", maxRetries: 0 });

	it("streams partial pictures, then the finished one", async () => {
		const stream = await client().images.generate({
			model: "tiny",
			prompt: "a photo of a cat",
			stream: true,
			partial_images: 2,
		});
		const types: string[] = [];
		for await (const event of stream) {
			types.push(event.type);
			expect((await sharp(Buffer.from(event.b64_json, "base64")).metadata()).format).toBe("png");
		}
		expect(types).toEqual([
			"image_generation.partial_image",
			"image_generation.partial_image",
			"image_generation.completed",
		]);
	});

	it("gets ten pictures at once as old clients do, by address and at another size, and a clear error", async () => {
		const { data } = await client().images.generate({
			model: "dall-e-2",
			prompt: "a photo of a cat",
			n: 10,
			size: "256x256",
		});
		const pictures = await Promise.all(
			data!.map(async ({ url }) => Buffer.from(await (await fetch(url!)).arrayBuffer())),
		);
		expect(new Set(pictures.map((bytes) => bytes.toString("base64"))).size).toBe(10);
		for (const bytes of pictures) {
			expect(await size(bytes)).toEqual({ width: 256, height: 256 });
			expect(await readMetadata(bytes)).toMatchObject({ prompt: "a photo of a cat", model: "tiny" });
		}
		await expect(client().images.generate({ model: "tiny", prompt: "" })).rejects.toThrow(OpenAI.BadRequestError);
	});
});

describe("bad input", () => {
	it.each<[string, Record<string, string>, number]>([
		["an empty prompt", { prompt: "" }, 400],
		["a prompt of 10 kB", { prompt: "x".repeat(10_000) }, 400],
		["a seed out of range", { seed: "4294967296" }, 400],
		["an unknown policy", { policy: "fastest" }, 400],
		["an unknown model", { model: "nope" }, 404],
		["more words than the model takes", { prompt: "cat ".repeat(100) }, 400],
	])("%s gets a clear error and the next request works", async (_, query, status) => {
		const response = await preview(query);
		expect(response.status).toBe(status);
		expect(await response.json()).toMatchObject({ error: { message: expect.any(String), type: expect.any(String) } });
		expect((await Array.fromAsync(sse(await preview({})))).at(-1)).toMatchObject({ event: "final" });
	});
});

it("a body of 100 kB, of another type or broken gets a clear error and the next request works", async () => {
	const post = (body: string, type = "application/json") =>
		fetch(`${firstlight.url}/v1/images/generations`, { method: "POST", body, headers: { "content-type": type } });
	const wrong = [
		await post(JSON.stringify({ prompt: "x".repeat(100_000) })),
		await post("prompt=x", "application/x-www-form-urlencoded"),
		await post('{"prompt":'),
	];
	expect(wrong.map(({ status }) => status)).toEqual([413, 415, 400]);
	for (const response of wrong)
		expect(await response.json()).toMatchObject({ error: { message: expect.any(String), code: expect.any(String) } });
	expect((await post(JSON.stringify({ model: "tiny", prompt: "a photo of a cat" }))).status).toBe(200);
});

it("whoever sends more than is read gets his answer, and is heard again on the same connection", async () => {
	const post = async (path: string, body: string, type = "application/json") => {
		const response = await fetch(`${firstlight.url}${path}`, {
			method: "POST",
			body,
			headers: { "content-type": type },
		});
		return [response.status, (await response.json()).error.code, response.headers.get("connection")];
	};
	for (const [size, times] of [
		[100_000, 20],
		[1_000_000, 10],
		[30_000_000, 1],
	]) {
		const body = JSON.stringify({ prompt: "x".repeat(size) });
		for (let i = 0; i < times; i++) {
			expect(await post("/v1/images/generations", body)).toEqual([413, "request_too_large", null]);
			expect(await post("/v1/images/generations", body, "text/plain")).toEqual([415, "unsupported_media_type", null]);
			expect(await post("/v1/images/preview", body)).toEqual([405, "method_not_allowed", null]);
			expect(await post("/v1/nothing", body)).toEqual([404, "not_found", null]);
		}
	}
});

it("a sketch is refined with the bytes of a picture whose early scales are the same, and branched", async () => {
	const options = { url: firstlight.url };
	const done = async ({ id }: { id: string }) => {
		for await (const event of follow({ job: id }, options)) if (event.type === "final") return event.sha256;
	};
	const ask = { prompt: "a photo of a cat", seed: 21, policy: "exact", cache: false };
	const [sketch] = await createJobs({ ...ask, until: 1 }, options);
	const [whole] = await createJobs(ask, options);
	await done(sketch);
	expect(await done(await refineJob(sketch.id, { policy: "exact" }, options))).toBe(await done(whole));
	// Of another plan: as if the whole picture had been made by it from the same two scales.
	const finished = await refineJob(sketch.id, { policy: "stagevar" }, options);
	const [other] = await createJobs({ ...ask, policy: "stagevar", from: whole.id, scales: 2 }, options);
	expect(await done(finished)).toBe(await done(other));
	// As browsers send none at all: with its length, 0.
	const again = await fetch(`${firstlight.url}/v1/jobs/${sketch.id}/refine`, { method: "POST" });
	expect(again.status).toBe(201);
	const siblings = await branchJob(sketch.id, { from: 2, count: 2 }, options);
	const pictures = await Promise.all(siblings.map(done));
	expect(new Set([...pictures, await done(whole)]).size).toBe(3);
	const image = await fetch((await getJob(whole.id, options)).links.image!);
	expect(
		createHash("sha256")
			.update(Buffer.from(await image.arrayBuffer()))
			.digest("hex"),
	).toBe(await done(whole));
});

it("a picture goes on elsewhere when its worker is killed", async () => {
	const events: SseEvent[] = [];
	for await (const event of sse(await preview({ seed: "11" }))) {
		events.push(event);
		if (events.length === 3) for (const pid of firstlight.workers()) process.kill(pid, "SIGKILL");
	}
	expect(events.map(({ event }) => event)).toEqual(["plan", "scale", "scale", "scale", "scale", "final"]);
	const whole = await Array.fromAsync(sse(await preview({ seed: "11" })));
	expect((whole.at(-1) as SseEvent).data.sha256).toBe((events.at(-1) as SseEvent).data.sha256);
});

it("who waits for a worker to come back does not wait for another who has left", async () => {
	for (const pid of firstlight.workers()) process.kill(pid, "SIGKILL");
	const status = async () => (await fetch(`${firstlight.url}/healthz`)).status;
	await vi.waitFor(async () => expect(await status()).toBe(503), { timeout: 5000 });
	const leaving = new AbortController();
	const left = preview({ seed: "12" }, leaving).catch(() => undefined);
	await sleep(200);
	const beside = preview({ seed: "13" });
	await sleep(200);
	leaving.abort();
	await left;
	const after = preview({ seed: "14" });
	for (const response of await Promise.all([beside, after])) {
		expect(response.status).toBe(200);
		expect((await Array.fromAsync(sse(response))).at(-1)).toMatchObject({ event: "final" });
	}
});

it("ends everything it started", async () => {
	const started = firstlight.descendants().map(({ pid }) => pid);
	expect(started.length).toBeGreaterThan(2);
	expect(await firstlight.stop()).toBe(0);
	const alive = started.filter((pid) => {
		try {
			return process.kill(pid, 0);
		} catch {
			return false;
		}
	});
	expect(alive).toEqual([]);
});
