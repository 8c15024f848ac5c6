/** What common clients send by default, as they send it: it works, and what is done otherwise is said. */
import { env } from "cloudflare:workers";
import type OpenAI from "openai";
import { afterEach, describe, expect, it } from "vitest";
import { Warnings } from "../../worker/edge/http/warnings.ts";
import app from "../../worker/edge/index.ts";
import { Body, parseBody } from "../../worker/edge/routes/generations-body.ts";
import { type Env, settingsOf } from "../../worker/edge/settings.ts";
import { client, post } from "./client.ts";
import { delivered, edge, health, MODEL, OTHER_MODEL, Peer } from "./peer.ts";
import { everybodyLeaves, Reader, until } from "./reader.ts";

afterEach(everybodyLeaves);

const warningOf = (response: Response) => response.headers.get("warning");
/** The same edge with another setting. */
const set = (settings: object, path: string, init?: RequestInit) =>
	app.fetch(new Request(`http://localhost${path}`, init), { ...(env as unknown as Env), ...settings } as never);
const json = { "content-type": "application/json" };

/** A request's answer and the lease that a worker got for it. */
async function made(body: object) {
	const peer = await Peer.join({ slots: 10 });
	const answer = post({ prompt: "a red apple", ...body });
	const lease = await peer.next("lease");
	await peer.finish(lease);
	const response = await answer;
	expect(response.status).toBe(200);
	const isJson = response.headers.get("content-type")?.startsWith("application/json");
	return { lease, response, answer: isJson ? ((await response.json()) as any) : await response.text() };
}

describe("clients with their defaults", () => {
	it("Open WebUI asks for 512x512", async () => {
		const { lease, response, answer } = await made({
			model: "dall-e-2",
			n: 1,
			size: "512x512",
			response_format: "b64_json",
		});
		expect(lease.request).toMatchObject({
			model: MODEL.id,
			format: { type: "png", size: { width: 512, height: 512 } },
		});
		expect(answer).toMatchObject({ size: "512x512", model: MODEL.id, data: [{ b64_json: expect.any(String) }] });
		expect(answer.data[0]).not.toHaveProperty("url");
		expect(warningOf(response)).toBe(
			`299 firstlight "model: dall-e-2 stands for ${MODEL.id} here", ` +
				`299 firstlight "size: ${MODEL.id} makes 32x32, 32x64, not 512x512: 32x32 resized to 512x512"`,
		);
	});

	it("LibreChat asks gpt-image-1", async () => {
		await Peer.join({ automatic: true });
		const answer = await client.images.generate({
			model: "gpt-image-1",
			prompt: "a red apple",
			n: 1,
			background: "auto",
			output_format: "png",
			quality: "auto",
			size: "auto",
		});
		expect(answer).toMatchObject({ size: "32x32", quality: "high", background: "opaque" });
		expect(atob(answer.data![0].b64_json!)).toMatch(/picture of \d+$/);
	});

	it("DALL-E 3's users get an address without asking for one, and it lives for a while", async () => {
		await Peer.join({ automatic: true });
		const { data, response } = await client.images
			.generate({
				model: "dall-e-3",
				prompt: "a red apple",
				n: 1,
				size: "1024x1024",
				quality: "standard",
				style: "vivid",
			})
			.withResponse();
		expect(warningOf(response)).toContain("style: has no effect here");
		const [{ url, b64_json }] = data.data!;
		expect(b64_json).toBeUndefined();
		expect(url).toMatch(/^http:\/\/localhost\/v1\/jobs\/[0-9a-f]{64}\/image\?expires=\d+&signature=[\w-]{43}$/);
		const path = url!.slice("http://localhost".length);
		const picture = await edge(path);
		expect([picture.status, await picture.text()]).toEqual([200, expect.stringMatching(/picture of \d+$/)]);
		expect(Object.fromEntries(picture.headers)).toMatchObject({
			"content-type": "image/png",
			"access-control-allow-origin": "*",
			"cross-origin-resource-policy": "cross-origin",
			"x-content-type-options": "nosniff",
		});
		expect((await edge(path, { headers: { "if-none-match": picture.headers.get("etag")! } })).status).toBe(304);
		const head = await edge(path, { method: "HEAD" });
		expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([
			200,
			picture.headers.get("content-length"),
			"",
		]);
		// Not for another job, another end, or without the signature; and in the end not at all.
		for (const forged of [
			path.replace(/[0-9a-f]{64}/, "ab".repeat(32)),
			path.replace(/expires=\d+/, (end) => `${end}0`),
			path.replace(/signature=.*/, ""),
			path.replace(/signature=.*/, `signature=${"A".repeat(43)}`),
			path.replace(/\?.*/, ""),
		])
			expect([forged, (await edge(forged)).status]).toEqual([forged, 403]);
		await until(
			async () => (await edge(path)).status,
			(status) => status === 403,
		);
	});

	it("an operator says where the edge is reached", async () => {
		const { pictureUrl } = await import("../../worker/edge/auth/picture-url.ts");
		const settings = { ...(env as unknown as Env), PUBLIC_URL: "https://draw.example/api/" };
		expect(await pictureUrl(settings, "http://localhost", "ab".repeat(32), 1)).toMatch(
			/^https:\/\/draw\.example\/api\/v1\/jobs\/(ab){32}\/image\?/,
		);
	});

	it("ten pictures are a request like any other, where so many may wait or begin", async () => {
		const parse = (n: number) => parseBody({ prompt: "x", n }, new Warnings({ STRICT: false })).n;
		expect(parse(10)).toBe(10);
		expect(() => parse(11)).toThrow(/^n: must be at most 10$/);
		const draw = (n: number) => post({ prompt: "x", n });
		await Peer.join({ automatic: true });
		const { error } = (await (await draw(5)).json()) as { error: { message: string; param: string } };
		expect([error.param, error.message]).toEqual(["n", expect.stringMatching(/^n: must be at most 4: /)]);
		await Peer.join({ worker: "wide", slots: 10, automatic: true });
		expect((await draw(10)).status).toBe(200);
	});

	/** Fields, qualities and models that the client's types have: a newer client's would not pass the type check. */
	const generate: Record<keyof OpenAI.ImageGenerateParams, true> = {
		prompt: true,
		background: true,
		complexity: true,
		frame_count: true,
		frame_duration_ms: true,
		model: true,
		moderation: true,
		n: true,
		output_compression: true,
		output_format: true,
		partial_images: true,
		quality: true,
		response_format: true,
		safety_identifier: true,
		size: true,
		stream: true,
		style: true,
		svg: true,
		user: true,
	};
	const qualities: Record<NonNullable<OpenAI.ImageGenerateParams["quality"]>, true> = {
		auto: true,
		low: true,
		medium: true,
		high: true,
		xhigh: true,
		max: true,
		standard: true,
		hd: true,
	};
	const models: Record<OpenAI.ImageModel, true> = {
		"dall-e-2": true,
		"dall-e-3": true,
		"gpt-image-1": true,
		"gpt-image-1-mini": true,
		"gpt-image-1.5": true,
		"gpt-image-2": true,
		"gpt-image-2-2026-04-21": true,
		"gpt-image-2.5-sunburst": true,
		"gpt-image-2.5-sunburst-2026-09-08": true,
		"gpt-image-2.5-flare": true,
		"gpt-image-2.5-flare-2026-09-08": true,
		"gpt-image-2.6-sunburst": true,
		"gpt-image-2.6-flare": true,
		"chatgpt-image-latest": true,
	};

	it("every field, quality and model that OpenAI's client knows is taken", async () => {
		expect(Object.keys(generate).filter((field) => !Object.hasOwn(Body.shape, field))).toEqual([]);
		await Peer.join();
		for (const quality of Object.keys(qualities)) expect(Body.safeParse({ quality }).success).toBe(true);
		for (const model of Object.keys(models))
			expect(await (await edge(`/v1/models/${model}`)).json()).toMatchObject({ id: MODEL.id });
	});
});

describe("sizes", () => {
	it.each<[string, string, string, { width: number; height: number } | undefined]>([
		["32x32", "1:1", "32x32", undefined],
		["32x64", "2:1", "32x64", undefined],
		["256x256", "1:1", "256x256", { width: 256, height: 256 }],
		["16x16", "1:1", "16x16", { width: 16, height: 16 }],
		["1000x1015", "1:1", "1000x1015", { width: 1000, height: 1015 }],
		["1024x1792", "2:1", "896x1792", { width: 896, height: 1792 }],
		["1792x1024", "1:1", "1024x1024", { width: 1024, height: 1024 }],
		["33x32", "1:1", "32x32", undefined],
		["2048x2048", "1:1", "2048x2048", { width: 2048, height: 2048 }],
		["1x2000", "2:1", "1x2", { width: 1, height: 2 }],
	])("%s is made as %s and given as %s", async (size, schedule, given, resized) => {
		const { lease, answer, response } = await made({ size });
		expect(lease.request.plan.schedule).toBe(schedule);
		expect(lease.request.format.size).toEqual(resized);
		expect(answer.size).toBe(given);
		expect(warningOf(response) === null).toBe(size === "32x32" || size === "32x64");
	});

	it.each(["big", "0x0", "1024", "-5x5", "1024x", "2049x32", "32x99999", "1e3x1e3", " 32x32"])(
		"%j is refused with what may be asked for",
		async (size) => {
			await Peer.join();
			const response = await post({ prompt: "x", size });
			expect(response.status).toBe(400);
			expect(await response.json()).toMatchObject({
				error: {
					param: "size",
					message: expect.stringMatching(/at most 2048 each\. Model test-32 makes 32x32, 32x64/),
				},
			});
		},
	);
});

describe("names of models", () => {
	it("an operator's own aliases", async () => {
		await Peer.join({ models: [MODEL, OTHER_MODEL] });
		const aliases = { MODEL_ALIASES: `sdxl=${OTHER_MODEL.id}, dall-e-3=${OTHER_MODEL.id},gone=nowhere` };
		const of = async (name: string) => (await (await set(aliases, `/v1/models/${name}`)).json()) as { id?: string };
		expect((await of("sdxl")).id).toBe(OTHER_MODEL.id);
		expect((await of("dall-e-3")).id).toBe(OTHER_MODEL.id);
		expect((await of("dall-e-2")).id).toBe(MODEL.id);
		expect((await of(MODEL.id)).id).toBe(MODEL.id);
		expect(await of("gone")).toMatchObject({ error: { code: "model_not_found" } });
		expect(() => settingsOf({ ...(env as object), MODEL_ALIASES: "a=b=c" } as never)).toThrow(/MODEL_ALIASES/);
	});
});

describe("a strict edge", () => {
	it.each<[object, number, string]>([
		[{ size: "512x512" }, 400, "size"],
		[{ style: "vivid" }, 400, "style"],
		[{ background: "transparent" }, 400, "background"],
		[{ output_compression: 50 }, 400, "output_compression"],
		[{ partial_images: 2 }, 400, "partial_images"],
		[{ response_format: "url", stream: true }, 400, "response_format"],
		[{ model: "gpt-image-1" }, 404, "model"],
	])("refuses what it would do otherwise: %j", async (fields, status, param) => {
		const peer = await Peer.join();
		const body = JSON.stringify({ prompt: "x", ...fields });
		const response = await set({ STRICT: "true" }, "/v1/images/generations", { method: "POST", headers: json, body });
		expect([response.status, (await response.json()) as object]).toMatchObject([status, { error: { param } }]);
		expect(peer.inbox).toEqual([]);
		// Elsewhere the same is done with a warning.
		const { lease, response: lenient } = await made(fields);
		expect(lease.request.model).toBe(MODEL.id);
		expect(warningOf(lenient)).toContain(param);
	});
});

describe("words and lengths, by the model's own tokenizer", () => {
	const vocab = Object.fromEntries(["<unk>", "</s>", "a", "red", "apple", "two", "cats"].map((word, id) => [word, id]));
	const tokenizer = {
		version: "1.0",
		truncation: null,
		padding: null,
		added_tokens: ["<unk>", "</s>"].map((content, id) => ({
			id,
			content,
			special: true,
			single_word: false,
			lstrip: false,
			rstrip: false,
			normalized: false,
		})),
		normalizer: { type: "Lowercase" },
		pre_tokenizer: { type: "Whitespace" },
		post_processor: {
			type: "TemplateProcessing",
			single: [{ Sequence: { id: "A", type_id: 0 } }, { SpecialToken: { id: "</s>", type_id: 0 } }],
			pair: [{ Sequence: { id: "A", type_id: 0 } }],
			special_tokens: { "</s>": { id: "</s>", ids: [1], tokens: ["</s>"] } },
		},
		decoder: null,
		model: { type: "WordLevel", vocab, unk_token: "<unk>" },
	};
	const WORDS = { ...MODEL, id: "words-32", digest: `sha256:${"d4".repeat(32)}`, maxPromptTokens: 24, tokenizer };
	const sha256 = async (text: string) =>
		[...new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)))]
			.map((byte) => byte.toString(16).padStart(2, "0"))
			.join("");
	/** Its tokenizer is not in its info, but in the bucket. */
	async function published() {
		const bucket = (env as unknown as Env).MODEL_BUCKET as R2Bucket;
		const text = JSON.stringify(tokenizer);
		const entry = { file: "tokenizer.json", bytes: text.length, sha256: await sha256(text) };
		const shards = [{ file: "shard-000.bin", bytes: 1, sha256: "0".repeat(64) }];
		const manifest = JSON.stringify({ name: "published-32", tokenizer: entry, shards });
		await bucket.put(`files/${entry.sha256}`, text);
		await bucket.put(`files/${await sha256(manifest)}`, manifest);
		return { ...WORDS, tokenizer: undefined, id: "published-32", digest: `sha256:${await sha256(manifest)}` };
	}

	it.each<[string, () => Promise<typeof MODEL>]>([
		["in its info", async () => WORDS],
		["published", published],
	])("unknown words are named before anybody waits: tokenizer %s", async (_, model) => {
		const peer = await Peer.join({ models: [await model()] });
		const prompt = "A red Zürich, two x-rays & two 🍎 apple-red CATS!";
		const unknown = ["Zürich", "x", "rays", "🍎"];
		const reader = await Reader.open(`/v1/images/preview?${new URLSearchParams({ prompt })}`);
		expect((await reader.next())!.data.unknownWords).toEqual(unknown);
		expect(warningOf(reader.response)).toBe(
			'299 firstlight "the model does not know these words of the prompt: Z%C3%BCrich, x, rays, %F0%9F%8D%8E"',
		);
		await peer.finish(await peer.next("lease"));
		const answer = post({ prompt });
		await peer.finish(await peer.next("lease"));
		const response = await answer;
		expect(await response.json()).toMatchObject({ unknownWords: unknown, usage: { input_tokens: 17 } });
		expect(warningOf(response)).toContain("Z%C3%BCrich");
		const streamed = Reader.open("/v1/images/generations", {
			method: "POST",
			headers: json,
			body: JSON.stringify({ prompt, stream: true }),
		});
		await peer.finish(await peer.next("lease"));
		expect(warningOf((await streamed).response)).toContain("rays");
		expect((await (await streamed).rest()).at(-1)!.data.unknownWords).toEqual(unknown);
	});

	it("a prompt of known words warns of nothing", async () => {
		await Peer.join({ models: [WORDS], automatic: true });
		const response = await post({ prompt: "a red apple" });
		expect(warningOf(response)).toBeNull();
		expect(await response.json()).toMatchObject({ unknownWords: [], usage: { input_tokens: 4 } });
	});

	it("a prompt that is too long for the model is refused at once", async () => {
		const peer = await Peer.join({ models: [WORDS] });
		const prompt = "a red apple ".repeat(8);
		for (const response of [
			await post({ prompt }),
			await post({ prompt, stream: true }),
			await edge(`/v1/images/preview?${new URLSearchParams({ prompt })}`),
		]) {
			expect(response.status).toBe(400);
			expect(await response.json()).toEqual({
				error: {
					type: "invalid_request_error",
					code: "invalid_prompt",
					param: "prompt",
					message: "prompt: The prompt has 25 tokens; this model takes at most 24. Shorten it.",
				},
			});
		}
		expect([peer.inbox, (await health()).queue]).toEqual([[], 0]);
	});

	it("the catalog has the model's words, and not its tokenizer", async () => {
		await Peer.join({ models: [WORDS, MODEL] });
		const of = async (id: string) => (await (await edge(`/v1/models/${id}`)).json()) as Record<string, unknown>;
		expect((await of(WORDS.id)).vocabulary).toEqual(["a", "red", "apple", "two", "cats"]);
		expect(await of(WORDS.id)).not.toHaveProperty("tokenizer");
		expect(await of(MODEL.id)).not.toHaveProperty("vocabulary");
	});

	it("characters are counted as people count them", async () => {
		const peer = await Peer.join();
		const answer = post({ prompt: "🍎".repeat(2000) });
		const lease = await peer.next("lease");
		expect(lease.request.prompt).toHaveLength(4000);
		await peer.finish(lease);
		expect((await answer).status).toBe(200);
		const longer = await post({ prompt: "🍎".repeat(2001) });
		expect(await longer.json()).toMatchObject({ error: { message: "prompt: is longer than 2000 characters" } });
	});
});

describe("what only the worker knows", () => {
	it.each([
		["invalid_prompt", 400, "prompt", "invalid_request_error"],
		["invalid_plan", 400, "plan", "invalid_request_error"],
		["kernel_refused", 500, null, "server_error"],
		["constructor", 500, null, "server_error"],
	] as const)("%s stays a %i", async (code, status, param, type) => {
		const peer = await Peer.join();
		const error = { message: "Said by the worker.", type, param, code };
		for (const stream of [false, true]) {
			const answer = post({ prompt: "x", stream });
			const lease = await peer.next("lease");
			await delivered(lease, { type: "error", code, message: "Said by the worker." });
			peer.release(lease);
			const response = await answer;
			if (stream) expect(await response.text()).toContain(`event: error\ndata: ${JSON.stringify({ error })}\n`);
			else expect([response.status, await response.json()]).toEqual([status, { error }]);
		}
	});
});

describe("several pictures", () => {
	it("are queued all or not at all", async () => {
		const peer = await Peer.join({ worker: "never-measured" });
		const open = (prompt: string) => Reader.open(`/v1/images/preview?prompt=${prompt}`);
		await open("in hand");
		const lease = await peer.next("lease");
		for (let i = 0; i < 2; i++) await open("waits");
		const refused = await post({ prompt: "too many", n: 3 });
		expect(refused.status).toBe(503);
		expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
		const taken = post({ prompt: "as many as fit", n: 2 });
		await peer.finish(lease);
		const prompts = [];
		for (let i = 0; i < 4; i++) {
			const next = await peer.next("lease");
			prompts.push(next.request.prompt);
			await peer.finish(next);
		}
		expect(prompts).toEqual(["waits", "waits", "as many as fit", "as many as fit"]);
		expect((await taken).status).toBe(200);
		expect([(await health()).queue, peer.inbox]).toEqual([0, []]);
	});

	it("a wrong request is a 400 where the queue is full, too", async () => {
		const peer = await Peer.join();
		const open = () => Reader.open("/v1/images/preview?prompt=x");
		const readers = [await open()];
		await peer.next("lease");
		for (let i = 0; i < 4; i++) readers.push(await open());
		const wrong = [{ class: 3, prompt: null }, { policy: "nope" }, { plan: [] }, { policy: "stagevar", size: "32x64" }];
		const answers = await Promise.all([{}, ...wrong].map((fields) => post({ prompt: "x", ...fields })));
		expect(answers.map(({ status }) => status)).toEqual([503, 400, 400, 400, 400]);
	});

	it("more than ever fit are a 400 and no 503", async () => {
		await Peer.join();
		const response = await post({ prompt: "x", n: 5 });
		expect([response.status, await response.json()]).toMatchObject([400, { error: { param: "n" } }]);
	});
});

describe("random seeds", () => {
	it("-1 is one", async () => {
		const seeds = [];
		for (let i = 0; i < 2; i++) {
			seeds.push((await made({ seed: -1 })).lease.request.seed);
			await everybodyLeaves();
		}
		await Peer.join({ automatic: true });
		for (let i = 0; i < 2; i++)
			seeds.push((await (await Reader.open("/v1/images/preview?prompt=x&seed=-1")).rest())[0].data.seed);
		for (const seed of seeds) expect(seed).toBeGreaterThanOrEqual(0);
		expect(new Set(seeds).size).toBe(4);
	});
});

describe("Server-Timing", () => {
	it("says where the time of a picture went", async () => {
		const { response } = await made({});
		const metrics = new Map(
			response.headers
				.get("server-timing")!
				.split(",")
				.map((metric) => /^(\w+);dur=([\d.]+)/.exec(metric)!.slice(1) as [string, string]),
		);
		expect([...metrics.keys()].sort()).toEqual(["admission", "queue", "rest", "scales", "total"]);
		// Four scales of 1.5 ms, of a picture of 12 ms.
		expect([metrics.get("scales"), metrics.get("rest")]).toEqual(["6.0", "6.0"]);
	});
});
