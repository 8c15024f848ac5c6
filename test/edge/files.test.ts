/** Published models out of a real R2 bucket. */
import { env } from "cloudflare:workers";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { signModelToken, signWorkerToken } from "../../worker/edge/auth/worker-token.ts";
import type { Env } from "../../worker/edge/settings.ts";
import { fileKey, nameKey, policiesKey } from "../../worker/protocol/model-files.ts";
import { edge, registered, SECRET } from "./peer.ts";

const bucket = (env as unknown as Env).MODEL_BUCKET as R2Bucket;
const bytes = Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7919) >> 3);
const hash = async (data: Uint8Array<ArrayBuffer>) =>
	[...new Uint8Array(await crypto.subtle.digest("SHA-256", data))]
		.map((byte) => byte.toString(16).padStart(2, "0"))
		.join("");
const text = (value: unknown) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
const read = async (response: Response) => new Uint8Array(await response.arrayBuffer());

const keys: string[] = [];
async function put(key: string, data: Uint8Array<ArrayBuffer> | string): Promise<void> {
	keys.push(key);
	await bucket.put(key, data);
}
/** As `npx firstlight publish` does; gives the digest. */
async function publish(name: string, shard = bytes, more: object = {}): Promise<string> {
	const tokenizer = text({ words: shard.length });
	const entry = async (file: string, data: Uint8Array<ArrayBuffer>) => ({
		file,
		bytes: data.byteLength,
		sha256: await hash(data),
	});
	const manifest = text({
		name,
		shards: [await entry("shard-000.bin", shard)],
		tokenizer: await entry("tokenizer.json", tokenizer),
		...more,
	});
	for (const data of [shard, tokenizer, manifest]) await put(fileKey(await hash(data)), data);
	const digest = `sha256:${await hash(manifest)}`;
	await put(nameKey(name), JSON.stringify({ digest }));
	return digest;
}
/** With a token for the model in the path. */
const get = async (path: string, headers: Record<string, string> = {}, method = "GET") => {
	const token = await signModelToken(env as unknown as Env, decodeURIComponent(path.split("/")[0]));
	return edge(`/v1/models/${path}`, { method, headers: { authorization: `Bearer ${token}`, ...headers } });
};

let digest: string;
let etag: string;
beforeEach(async () => {
	digest = await publish("small");
	etag = `"${await hash(bytes)}"`;
});
afterEach(async () => {
	for (const key of keys.splice(0)) await bucket.delete(key);
});

describe("GET /v1/models/:model/files/:file", () => {
	it("gives whole files by the model's name, to be checked again", async () => {
		const response = await get("small/files/shard-000.bin");
		expect(response.status).toBe(200);
		expect(Object.fromEntries(response.headers)).toMatchObject({
			etag,
			"content-length": "100000",
			"accept-ranges": "bytes",
			"content-type": "application/octet-stream",
			"cache-control": "private, no-cache, no-transform",
		});
		expect(await read(response)).toEqual(bytes);
		expect(await (await get("small/files/tokenizer.json")).json()).toEqual({ words: 100_000 });
		const manifest = await get("small/files/manifest.json");
		expect(manifest.headers.get("etag")).toBe(`"${digest.slice(7)}"`);
		expect(`sha256:${await hash(await read(manifest))}`).toBe(digest);
	});

	it("gives files by the model's digest, which never change, also when the name has moved on", async () => {
		const newer = await publish("small", bytes.subarray(0, 50_000));
		expect(newer).not.toBe(digest);
		expect(await read(await get("small/files/shard-000.bin"))).toHaveLength(50_000);
		for (const file of ["manifest.json", "shard-000.bin"]) {
			const response = await get(`${digest}/files/${file}`);
			expect([response.status, response.headers.get("cache-control")]).toEqual([
				200,
				"private, max-age=31536000, immutable, no-transform",
			]);
			if (file === "shard-000.bin") expect(await read(response)).toEqual(bytes);
			else await response.arrayBuffer();
		}
	});

	it("gives what was measured of the model, which may be replaced, where there is something", async () => {
		const path = `${digest}/files/policies.json`;
		expect((await get(path)).status).toBe(404);
		let before = "";
		for (const measured of ["{}", '{"trades":{}}']) {
			await put(policiesKey(digest.slice(7)), measured);
			const response = await get(path);
			expect([response.status, response.headers.get("cache-control")]).toEqual([
				200,
				"private, no-cache, no-transform",
			]);
			expect(new TextDecoder().decode(await read(response))).toBe(measured);
			const now = response.headers.get("etag") as string;
			expect(now).not.toBe(before);
			expect((await get(path, { "if-none-match": now })).status).toBe(304);
			before = now;
		}
	});

	it("answers HEAD with the same headers and no body", async () => {
		const response = await get("small/files/shard-000.bin", { range: "bytes=5-9" }, "HEAD");
		expect([response.status, response.headers.get("content-length"), response.headers.get("etag")]).toEqual([
			200,
			"100000",
			etag,
		]);
		expect(await read(response)).toHaveLength(0);
	});

	it.each<[string, number, number]>([
		["bytes=0-", 0, 100_000],
		["bytes=99999-", 99_999, 100_000],
		["bytes=10-19", 10, 20],
		["bytes=0-0", 0, 1],
		["bytes=99000-200000", 99_000, 100_000],
		["bytes=-500", 99_500, 100_000],
		["bytes=-200000", 0, 100_000],
		["BYTES=7-7", 7, 8],
	])("gives the range %s", async (range, from, to) => {
		const response = await get("small/files/shard-000.bin", { range });
		expect(response.status).toBe(206);
		expect([
			response.headers.get("content-range"),
			response.headers.get("content-length"),
			response.headers.get("etag"),
		]).toEqual([`bytes ${from}-${to - 1}/100000`, `${to - from}`, etag]);
		expect(await read(response)).toEqual(bytes.subarray(from, to));
	});

	it.each(["bytes=100000-", "bytes=100000-100005", "bytes=-0", "bytes=999999999999-"])(
		"refuses the range %s with the size",
		async (range) => {
			const response = await get("small/files/shard-000.bin", { range });
			expect([response.status, response.headers.get("content-range")]).toEqual([416, "bytes */100000"]);
			expect(await response.json()).toMatchObject({ error: { code: "range_not_satisfiable" } });
		},
	);

	it.each([
		"bytes=9-5",
		"bytes=-",
		"bytes=a-b",
		"bytes=0-1,5-6",
		"lines=0-5",
		"bytes 0-5",
		`bytes=0-${"9".repeat(400)}`,
	])("gives the whole file where the range is %s", async (range) => {
		const response = await get("small/files/shard-000.bin", { range });
		expect([response.status, response.headers.get("content-range")]).toEqual([200, null]);
		expect(await read(response)).toHaveLength(100_000);
	});

	it("goes on with a range only where If-Range names these bytes", async () => {
		const range = "bytes=50000-";
		for (const [ifRange, status] of [
			[etag, 206],
			['"other"', 200],
			[`W/${etag}`, 200],
			["Wed, 21 Oct 2026 07:28:00 GMT", 200],
		] as const) {
			const response = await get("small/files/shard-000.bin", { range, "if-range": ifRange });
			expect([ifRange, response.status]).toEqual([ifRange, status]);
			expect(await read(response)).toHaveLength(status === 206 ? 50_000 : 100_000);
		}
	});

	it("answers 304 to who has the file", async () => {
		for (const known of [etag, `"other", ${etag}`, `W/${etag}`, "*"]) {
			for (const method of ["GET", "HEAD"]) {
				const response = await get("small/files/shard-000.bin", { "if-none-match": known, range: "bytes=0-" }, method);
				expect([response.status, response.headers.get("etag")]).toEqual([304, etag]);
				expect(await read(response)).toHaveLength(0);
			}
		}
		expect((await get("small/files/shard-000.bin", { "if-none-match": '"other"' })).status).toBe(200);
	});

	it("streams a large file, whole and from the middle", async () => {
		const large = new Uint8Array(24 * 2 ** 20).map((_, i) => (i * 2654435761) >>> 24);
		await publish("large", large);
		expect(await hash(await read(await get("large/files/shard-000.bin")))).toBe(await hash(large));
		const half = await read(await get("large/files/shard-000.bin", { range: `bytes=${12 * 2 ** 20}-` }));
		expect(await hash(half)).toBe(await hash(large.slice(12 * 2 ** 20)));
	});
});

describe("what is not for everybody", () => {
	it("needs a token for that very model", async () => {
		const settings = env as unknown as Env;
		const tokens = [
			"",
			"wrong-secret-0123456789",
			SECRET,
			await signModelToken(settings, "other"),
			await signModelToken(settings, digest),
			await signWorkerToken(settings, "small"),
			await signModelToken({ ...settings, MODEL_TOKEN_SECONDS: 1 }, "small"),
		];
		await new Promise((resolve) => setTimeout(resolve, 2100));
		for (const authorization of [...tokens.map((token) => `Bearer ${token}`), `Basic ${SECRET}`])
			for (const path of ["small/files/shard-000.bin", "nope/files/manifest.json"]) {
				const response = await get(path, { authorization });
				expect(response.status).toBe(401);
				expect(await response.json()).toMatchObject({ error: { type: "authentication_error", code: "invalid_token" } });
			}
		// As a worker comes by it.
		const { models } = (await (await registered("w", ["small", digest])).json()) as { models: Record<string, string> };
		for (const [model, token] of Object.entries(models))
			expect((await get(`${model}/files/manifest.json`, { authorization: `Bearer ${token}` })).status).toBe(200);
	});

	it.each<[string, string, string]>([
		["a file the manifest does not list", "small/files/shard-001.bin", "file_not_found"],
		["a file's hash", `small/files/${"0".repeat(64)}`, "file_not_found"],
		["a folder above", "small/files/..%2F..%2Fother", "file_not_found"],
		["a name of the language", "small/files/__proto__", "file_not_found"],
		["a model that is not there", "other/files/manifest.json", "model_not_published"],
		["a digest that is not there", `sha256:${"0".repeat(64)}/files/manifest.json`, "model_not_published"],
		["a model's name with a path in it", "..%2Ffiles%2Fx/files/manifest.json", "model_not_published"],
		["a very long name", `${"x".repeat(500)}/files/manifest.json`, "model_not_published"],
	])("%s is a 404", async (_, path, code) => {
		await put("other", "secret");
		const response = await get(path);
		expect(response.status).toBe(404);
		expect(await response.json()).toMatchObject({ error: { code } });
	});

	it("takes no other method", async () => {
		const response = await get("small/files/shard-000.bin", {}, "PUT");
		expect([response.status, response.headers.get("allow")]).toEqual([405, "GET, HEAD, OPTIONS"]);
	});
});

describe("a bucket with other things than were published", () => {
	/** Puts a text under a key; what the model's manifest is then asked for by. */
	const holding = async (key: string, text: string, model: string): Promise<string> => {
		await put(key, text);
		return `${model}/files/manifest.json`;
	};
	it.each<[string, () => Promise<string>]>([
		["a name that leads nowhere", () => holding(nameKey("bad"), "not JSON", "bad")],
		["a name that is too long to be one", () => holding(nameKey("bad"), " ".repeat(5000), "bad")],
		["a manifest that is none", () => holding(fileKey("1".repeat(64)), "{}", `sha256:${"1".repeat(64)}`)],
		[
			"a manifest that is too large",
			() => holding(fileKey("2".repeat(64)), " ".repeat(16 * 2 ** 20 + 1), `sha256:${"2".repeat(64)}`),
		],
		[
			"a manifest with a shard that is too large",
			async () =>
				`${await publish("bad", bytes, { shards: [{ file: "a", bytes: 2 ** 31, sha256: "3".repeat(64) }] })}/files/a`,
		],
		[
			"a manifest with a path for a file",
			async () =>
				`${await publish("bad", bytes, { shards: [{ file: "../a", bytes: 5, sha256: "3".repeat(64) }] })}/files/a`,
		],
		[
			"a shard that is missing",
			async () =>
				`${await publish("bad", bytes, { shards: [{ file: "a", bytes: 5, sha256: "3".repeat(64) }] })}/files/a`,
		],
		[
			"a shard of another size",
			async () =>
				`${await publish("bad", bytes, { shards: [{ file: "a", bytes: 5, sha256: await hash(bytes) }] })}/files/a`,
		],
	])("%s is said to be damaged", async (_, make) => {
		const response = await get(await make());
		expect(response.status).toBe(500);
		expect(await response.json()).toMatchObject({
			error: { code: "model_damaged", message: expect.stringMatching(/Publish the model again/) },
		});
	});
});
