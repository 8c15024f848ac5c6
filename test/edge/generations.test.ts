import { env } from "cloudflare:workers";
import { afterEach, describe, expect, it } from "vitest";
import { siblingSeed } from "../../worker/edge/http/seeds.ts";
import app from "../../worker/edge/index.ts";
import { policies } from "../../worker/policies/index.ts";
import { client, post } from "./client.ts";
import { delivered, edge, health, MODEL, ORIGIN, OTHER_MODEL, Peer, pictureOf, scaleEvent } from "./peer.ts";
import { everybodyLeaves, Reader, until } from "./reader.ts";

afterEach(everybodyLeaves);

const stream = (body: object) =>
	Reader.open("/v1/images/generations", {
		method: "POST",
		headers: { "content-type": "application/json" },
		body: JSON.stringify({ stream: true, ...body }),
	});
const USAGE = {
	input_tokens: 3,
	output_tokens: 30,
	total_tokens: 33,
	input_tokens_details: { text_tokens: 3, image_tokens: 0 },
};

describe("POST /v1/images/generations", () => {
	it("answers in OpenAI's shape", async () => {
		await Peer.join({ automatic: true });
		const response = await post({ prompt: "a red apple", seed: 7 });
		expect(response.status).toBe(200);
		expect(await response.json()).toEqual({
			created: expect.any(Number),
			background: "opaque",
			output_format: "png",
			quality: "high",
			size: "32x32",
			data: [{ b64_json: pictureOf("picture of 7"), seed: 7 }],
			usage: USAGE,
			seed: 7,
			policy: "exact",
			model: MODEL.id,
		});
	});

	it("gives an address that is good, though pictures are kept for a fraction of a second more", async () => {
		await Peer.join({ automatic: true });
		const body = JSON.stringify({ prompt: "x", response_format: "url" });
		const headers = { "content-type": "application/json" };
		const response = await app.fetch(
			new Request(`${ORIGIN}/v1/images/generations`, { method: "POST", headers, body }),
			{ ...(env as object), JOB_KEEP_SECONDS: 60.5 } as never,
		);
		const { data } = (await response.json()) as { data: { url: string }[] };
		expect((await edge(data[0].url.replace(ORIGIN, ""))).status).toBe(200);
	});

	it("makes n pictures from sibling seeds", async () => {
		await Peer.join({ automatic: true, slots: 2 });
		const seeds = [0, 1, 2].map((i) => siblingSeed(7, i));
		expect(seeds[0]).toBe(7);
		expect(new Set(seeds).size).toBe(3);
		const answer = (await (await post({ prompt: "a red apple", seed: 7, n: 3, cache: false })).json()) as {
			data: unknown;
			usage: unknown;
		};
		expect(answer.data).toEqual(seeds.map((seed) => ({ b64_json: pictureOf(`picture of ${seed}`), seed })));
		expect(answer.usage).toEqual({
			input_tokens: 9,
			output_tokens: 90,
			total_tokens: 99,
			input_tokens_details: { text_tokens: 9, image_tokens: 0 },
		});
	});

	it.each<[object, object]>([
		[{}, { policy: "exact", schedule: "1:1", format: { type: "png", quality: 100 }, previews: "none" }],
		[{ quality: "high" }, { policy: "exact" }],
		[{ quality: "hd" }, { policy: "exact" }],
		[{ quality: "xhigh" }, { policy: "exact" }],
		[{ quality: "medium" }, { policy: "exact" }],
		[{ quality: "standard" }, { policy: "exact" }],
		[{ quality: "low" }, { policy: "exact" }],
		[{ policy: "stagevar-skip" }, { policy: "stagevar-released" }],
		[{ quality: "low", policy: "exact" }, { policy: "exact" }],
		[
			{ quality: "low", size: "32x64" },
			{ policy: "exact", schedule: "2:1" },
		],
		[{ size: "32x32" }, { schedule: "1:1" }],
		[{ output_format: "webp", output_compression: 0 }, { format: { type: "webp", quality: 1 } }],
		[{ output_format: "jpeg", output_compression: 80 }, { format: { type: "jpeg", quality: 80 } }],
		[
			{
				model: "auto",
				user: "u",
				safety_identifier: "s",
				moderation: "low",
				background: "opaque",
				response_format: "b64_json",
				partial_images: 0,
				n: null,
				size: null,
			},
			{ policy: "exact" },
		],
		[{ stream: true }, { previews: "none" }],
		[{ stream: true, partial_images: 2 }, { previews: 2 }],
		[{ stream: true, partial_images: 16 }, { previews: 16 }],
	])("maps %j", async (body, expected) => {
		const peer = await Peer.join();
		const answer = post({ prompt: "x", ...body });
		const lease = await peer.next("lease");
		const { plan, format, previews, model } = lease.request;
		expect({ policy: plan.policy, schedule: plan.schedule, format, previews, model }).toMatchObject(expected);
		await peer.finish(lease);
		await (await answer).text();
	});

	it("maps quality by what was measured of the model", async () => {
		const trades = {
			stagevar: { score: 0.21, delta: -0.7, speedup: 1.7 },
			switti: { score: 0.9, delta: -0.008, speedup: 1.3 },
			sparsevar: { score: 0.87, delta: -0.04, speedup: 1.6 },
		};
		const peer = await Peer.join({ models: [{ ...MODEL, trades }] });
		for (const [body, policy, quality] of [
			[{}, "exact", "high"],
			[{ quality: "hd" }, "exact", "high"],
			[{ quality: "medium" }, "switti", "medium"],
			[{ quality: "standard" }, "switti", "medium"],
			[{ quality: "low" }, "sparsevar", "low"],
			[{ quality: "low", policy: "switti" }, "switti", "medium"],
			[{ quality: "low", size: "32x64" }, "exact", "high"],
		] as const) {
			const answer = post({ prompt: "x", ...body });
			const lease = await peer.next("lease");
			expect([body, lease.request.plan.policy]).toEqual([body, policy]);
			await peer.finish(lease);
			expect(await (await answer).json()).toMatchObject({ policy, quality });
		}
		expect(await (await edge(`/v1/models/${MODEL.id}`)).json()).toMatchObject({
			qualities: { high: "exact", medium: "switti", low: "sparsevar" },
		});
	});

	it("streams partial images and the completed one", async () => {
		await Peer.join({ automatic: true });
		const events = await (
			await stream({ prompt: "a red apple", seed: 7, partial_images: 2, output_format: "webp", policy: "stagevar" })
		).rest();
		const about = {
			created_at: expect.any(Number),
			background: "opaque",
			output_format: "webp",
			quality: "medium",
			size: "32x32",
		};
		expect(events.map(({ event, data }) => [event, data])).toEqual([
			[
				"image_generation.partial_image",
				{
					type: "image_generation.partial_image",
					b64_json: pictureOf("preview 2", "webp"),
					partial_image_index: 0,
					...about,
				},
			],
			[
				"image_generation.partial_image",
				{
					type: "image_generation.partial_image",
					b64_json: pictureOf("preview 3", "webp"),
					partial_image_index: 1,
					...about,
				},
			],
			[
				"image_generation.completed",
				{
					type: "image_generation.completed",
					b64_json: pictureOf("picture of 7", "webp"),
					...about,
					usage: USAGE,
					seed: 7,
					policy: "stagevar",
					model: MODEL.id,
				},
			],
		]);
	});

	it("counts as a reader while it waits, and stops counting when the caller leaves", async () => {
		const peer = await Peer.join();
		const caller = new AbortController();
		const answer = edge("/v1/images/generations", {
			method: "POST",
			headers: { "content-type": "application/json" },
			body: '{"prompt":"x"}',
			signal: caller.signal,
		}).catch(() => "left");
		const lease = await peer.next("lease");
		await new Promise((resolve) => setTimeout(resolve, 1200));
		expect((await delivered(lease, scaleEvent(lease, 0))).go).toBe("on");
		caller.abort();
		expect(await answer).toBe("left");
		expect((await peer.next("cancel", 1500)).job).toBe(lease.job);
		peer.release(lease);
		await until(health, ({ workers }) => workers[0].busy === 0);
	});

	it("answers a job's error with a status that is not tried again by itself", async () => {
		const peer = await Peer.join();
		for (const [code, status] of [
			["out_of_memory", 500],
			["worker_lost", 502],
		] as const) {
			const answer = post({ prompt: "x" });
			const lease = await peer.next("lease");
			await delivered(lease, { type: "error", code, message: "Said by the worker." });
			peer.release(lease);
			const response = await answer;
			expect([response.status, response.headers.get("x-should-retry")]).toEqual([status, "false"]);
			expect(await response.json()).toEqual({
				error: { message: "Said by the worker.", type: "server_error", param: null, code },
			});
		}
	});
});

describe("the openai client", () => {
	it("makes a picture", async () => {
		await Peer.join({ automatic: true });
		const answer = await client.images.generate({ prompt: "a red apple", size: "32x32", quality: "high" });
		expect(answer.data).toHaveLength(1);
		expect(atob(answer.data![0].b64_json!)).toMatch(/picture of \d+$/);
		expect((await client.models.list()).data.map(({ id }) => id)).toEqual([MODEL.id]);
		expect(await client.models.retrieve(MODEL.id)).toMatchObject({ id: MODEL.id, object: "model" });
	});

	it("streams partial images", async () => {
		await Peer.join({ automatic: true });
		const events = [];
		for await (const event of await client.images.generate({ prompt: "x", stream: true, partial_images: 3 }))
			events.push(event);
		expect(
			events.map((event) => [
				event.type,
				"partial_image_index" in event ? event.partial_image_index : event.usage.output_tokens,
			]),
		).toEqual([
			["image_generation.partial_image", 0],
			["image_generation.partial_image", 1],
			["image_generation.partial_image", 2],
			["image_generation.completed", 30],
		]);
	});

	it("throws our error, before and within a stream", async () => {
		await expect(client.images.generate({ prompt: "x" })).rejects.toMatchObject({ status: 503, code: "no_workers" });
		const peer = await Peer.join();
		await expect(client.images.generate({ prompt: "x", model: "sdxl" })).rejects.toMatchObject({
			status: 404,
			code: "model_not_found",
			param: "model",
		});
		const events = await client.images.generate({ prompt: "x", stream: true });
		const reading = (async () => {
			for await (const _ of events);
		})();
		const lease = await peer.next("lease");
		await Promise.all([
			delivered(lease, { type: "error", code: "device_lost", message: "Said by the worker." }),
			expect(reading).rejects.toMatchObject({ code: "device_lost", message: "Said by the worker." }),
		]);
	});
});

describe("bad input", () => {
	const cases: [string, unknown, number, string | null, string?][] = [
		["broken JSON", '{"prompt": "x"', 400, null, "invalid_json"],
		["no JSON at all", "", 400, null, "invalid_json"],
		["a list", [], 400, null],
		["null", "null", 400, null],
		["no prompt", {}, 400, "prompt", "missing_required_parameter"],
		["a null prompt", { prompt: null }, 400, "prompt", "missing_required_parameter"],
		["an empty prompt", { prompt: "" }, 400, "prompt"],
		["a blank prompt", { prompt: " \n\t" }, 400, "prompt"],
		["a prompt that is a number", { prompt: 5 }, 400, "prompt"],
		["a prompt that is too long", { prompt: "x".repeat(2001) }, 400, "prompt"],
		["a prompt of 100 kB", { prompt: "x".repeat(100_000) }, 413, null, "request_too_large"],
		["n of 0", { prompt: "x", n: 0 }, 400, "n"],
		["n of 11", { prompt: "x", n: 11 }, 400, "n"],
		["n of 1.5", { prompt: "x", n: 1.5 }, 400, "n"],
		["a size that is no size", { prompt: "x", size: "big" }, 400, "size"],
		["an unknown quality", { prompt: "x", quality: "ultra" }, 400, "quality"],
		["an unknown policy", { prompt: "x", policy: "constructor" }, 400, "policy"],
		["a policy that cannot plan the size", { prompt: "x", policy: "stagevar", size: "32x64" }, 400, "policy"],
		["an unknown model", { prompt: "x", model: "gpt-4o" }, 404, "model", "model_not_found"],
		["a negative seed", { prompt: "x", seed: -2 }, 400, "seed"],
		["a seed beyond 32 bits", { prompt: "x", seed: 2 ** 32 }, 400, "seed"],
		["a seed that is text", { prompt: "x", seed: "7" }, 400, "seed"],
		["partial_images of 17", { prompt: "x", stream: true, partial_images: 17 }, 400, "partial_images"],
		["partial_images of -1", { prompt: "x", stream: true, partial_images: -1 }, 400, "partial_images"],
		["n with stream", { prompt: "x", stream: true, n: 2 }, 400, "n"],
		["an unknown format", { prompt: "x", output_format: "gif" }, 400, "output_format"],
		["compression of 101", { prompt: "x", output_format: "webp", output_compression: 101 }, 400, "output_compression"],
		["an unknown response_format", { prompt: "x", response_format: "file" }, 400, "response_format"],
		["stream that is text", { prompt: "x", stream: "yes" }, 400, "stream"],
		["an unknown field", { prompt: "x", steps: 20 }, 400, "steps", "unknown_parameter"],
		["__proto__", '{"prompt":"x","__proto__":{"seed":1}}', 400, "__proto__", "unknown_parameter"],
	];

	it("is refused with OpenAI's error object, and the next request works", async () => {
		await Peer.join({ automatic: true });
		for (const [name, body, status, param, code] of cases) {
			const response = await post(body);
			const { error } = (await response.json()) as { error: Record<string, unknown> };
			expect
				.soft([name, response.status, error.param, error.type])
				.toEqual([name, status, param, "invalid_request_error"]);
			expect.soft(error.code).toBe(code ?? "invalid_value");
			expect.soft(typeof error.message).toBe("string");
		}
		expect((await post({ prompt: "x" })).status).toBe(200);
	});

	it.each(["", "text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])(
		"of content type %j is a 415",
		async (type) => {
			const response = await post('{"prompt":"x"}', type === "" ? {} : { "content-type": type });
			expect(response.status).toBe(415);
			expect(await response.json()).toMatchObject({ error: { code: "unsupported_media_type" } });
		},
	);

	it("is a 413 whatever length it declares", async () => {
		const body = new ReadableStream({
			pull(controller) {
				controller.enqueue(new Uint8Array(32_768).fill(32));
			},
		});
		const response = await edge("/v1/images/generations", {
			method: "POST",
			headers: { "content-type": "application/json" },
			body,
			duplex: "half",
		} as RequestInit);
		expect(response.status).toBe(413);
	});

	it("takes any script, and text that is not well-formed", async () => {
		const peer = await Peer.join();
		for (const [sent, received] of [
			["зелёное яблоко 🍏 تفاحة 苹果", "зелёное яблоко 🍏 تفاحة 苹果"],
			["\ud800 apple", "\ufffd apple"],
			["'; DROP TABLE log; --\u0000", "'; DROP TABLE log; --\u0000"],
		]) {
			const answer = post({ prompt: sent });
			const lease = await peer.next("lease");
			expect(lease.request.prompt).toBe(received);
			await peer.finish(lease);
			expect((await answer).status).toBe(200);
		}
	});

	it.each([
		["", "prompt"],
		["prompt=", "prompt"],
		["prompt=%20", "prompt"],
		[`prompt=${"x".repeat(2001)}`, "prompt"],
		["prompt=x&seed=-2", "seed"],
		["prompt=x&seed=4294967296", "seed"],
		["prompt=x&seed=1e3", "seed"],
		["prompt=x&seed=", "seed"],
		["prompt=x&policy=nope", "policy"],
		["prompt=x&policy=", "policy"],
		["prompt=x&schedule=9:9", "schedule"],
		["prompt=x&policy=stagevar&schedule=2:1", "policy"],
		["prompt=x&format=gif", "format"],
		["prompt=x&size=32x32", "size"],
		["prompt=x&prompt=y", "prompt"],
		["prompt=x&model=nope", "model"],
	])("of the preview route: ?%s", async (query, param) => {
		const peer = await Peer.join({ automatic: true });
		const response = await edge(`/v1/images/preview?${query}`);
		expect(response.status).toBe(param === "model" ? 404 : 400);
		expect(await response.json()).toMatchObject({ error: { type: "invalid_request_error", param } });
		expect(await (await Reader.open("/v1/images/preview?prompt=x")).rest()).toHaveLength(6);
		expect(peer.closed).toBeNull();
	});
});

describe("the catalog", () => {
	it("lists models and policies", async () => {
		expect(await (await edge("/v1/models")).json()).toEqual({ object: "list", data: [] });
		await Peer.join({ models: [MODEL, OTHER_MODEL] });
		const { data } = (await (await edge("/v1/models")).json()) as { data: object[] };
		expect(data).toMatchObject([
			{
				id: MODEL.id,
				object: "model",
				owned_by: "firstlight",
				digest: MODEL.digest,
				sizes: ["32x32", "32x64"],
				defaultSchedule: "1:1",
			},
			{ id: OTHER_MODEL.id, object: "model" },
		]);
		expect((await edge("/v1/models/nope")).status).toBe(404);
		const { data: listed } = (await (await edge("/v1/policies")).json()) as { data: { name: string }[] };
		expect(listed.map(({ name }) => name)).toEqual(Object.keys(policies));
		expect(listed.slice(0, 3)).toEqual([
			{
				name: "exact",
				title: expect.any(String),
				models: { [MODEL.id]: ["1:1", "2:1"], [OTHER_MODEL.id]: ["1:1", "2:1"] },
			},
			{ name: "stagevar", title: expect.any(String), models: { [MODEL.id]: ["1:1"], [OTHER_MODEL.id]: [] } },
			{ name: "stagevar-released", title: expect.any(String), models: { [MODEL.id]: ["1:1"], [OTHER_MODEL.id]: [] } },
		]);
	});

	it("answers 404 and 405 with the error object, OPTIONS and HEAD without a body", async () => {
		for (const [method, path, status, allow] of [
			["GET", "/nope", 404, null],
			["GET", "/v1/images/edits", 404, null],
			["GET", "/v1/images/generations", 405, "POST, OPTIONS"],
			["DELETE", "/v1/models", 405, "GET, HEAD, OPTIONS"],
			["POST", "/v1/images/preview", 405, "GET, HEAD, OPTIONS"],
			["PUT", "/healthz", 405, "GET, HEAD, OPTIONS"],
		] as const) {
			const response = await edge(path, { method });
			expect([method, path, response.status, response.headers.get("allow")]).toEqual([method, path, status, allow]);
			expect(await response.json()).toMatchObject({ error: { type: "invalid_request_error", param: null } });
			expect(response.headers.get("x-content-type-options")).toBe("nosniff");
			expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
		}
		const preflight = await edge("/v1/images/generations", {
			method: "OPTIONS",
			headers: {
				origin: "https://a.example",
				"access-control-request-method": "POST",
				"access-control-request-headers": "content-type",
			},
		});
		expect([
			preflight.status,
			preflight.headers.get("access-control-allow-origin"),
			preflight.headers.get("access-control-allow-headers"),
		]).toEqual([204, "*", "content-type"]);
		const internal = await edge("/internal/pool/connect", {
			method: "OPTIONS",
			headers: { origin: "https://a.example" },
		});
		expect([internal.status, internal.headers.get("access-control-allow-origin")]).toEqual([204, null]);
		const head = await edge("/v1/models", { method: "HEAD" });
		expect([head.status, await head.text()]).toEqual([200, ""]);
	});

	it("keeps what went wrong inside to itself", async () => {
		const { default: app } = await import("../../worker/edge/index.ts");
		const response = await app.fetch(new Request("http://localhost/internal/pool/connect"), {
			QUEUE_LIMIT: "many",
		} as never);
		expect(response.status).toBe(500);
		const text = await response.text();
		expect(text).not.toMatch(/QUEUE_LIMIT|settings/);
		expect(text).toContain(response.headers.get("x-request-id"));
	});
});
