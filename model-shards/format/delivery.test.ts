/** Models over HTTP, from a real server that misbehaves. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createNetServer } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { openModelSource } from "../../worker/families/folder.ts";
import { findModel, MODELS_DIR, openModelAt, openModelFolder } from "../open.ts";
import { ModelFormatError } from "./errors.ts";
import type { FileEntry } from "./manifest.ts";
import { cachedSource, defaultCache } from "./source/cache.ts";
import { type HttpOptions, httpSource } from "./source/http.ts";

const dir = await mkdtemp(join(tmpdir(), "delivery-"));
const content = Buffer.from(Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7919) >> 3));
const entryOf = (bytes: Buffer): FileEntry => ({
	file: "shard-000.bin",
	bytes: bytes.length,
	sha256: createHash("sha256").update(bytes).digest("hex"),
});
const entry = entryOf(content);

type Answer = (request: IncomingMessage, response: ServerResponse) => void;
/** Answers in turn; the last one stays. */
let answers: Answer[] = [];
let requests: IncomingMessage[] = [];
const server = createServer((request, response) => {
	requests.push(request);
	(answers.length > 1 ? (answers.shift() as Answer) : answers[0])(request, response);
});
await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/models/x?key=secret`;
afterAll(async () => {
	server.closeAllConnections();
	server.close();
	await rm(dir, { recursive: true });
});
afterEach(() => {
	requests = [];
});

/** A server as it should be: ranges, If-Range, ETag. */
function serve(bytes: Buffer, etag = '"v1"'): Answer {
	return ({ headers }, response) => {
		const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1] ?? 0);
		const partial = headers.range !== undefined && (headers["if-range"] ?? etag) === etag;
		const body = partial ? bytes.subarray(from) : bytes;
		response.writeHead(partial ? 206 : 200, {
			ETag: etag,
			"Content-Length": body.length,
			...(partial && { "Content-Range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
		});
		response.end(body);
	};
}
/** The same, but the connection breaks after `count` bytes of the body. */
function cut(count: number, answer: Answer): Answer {
	return (request, response) => {
		const end = (body: Buffer) =>
			response.write(body.subarray(0, count), () => setTimeout(() => response.destroy(), 20));
		answer(request, Object.assign(response, { end }) as ServerResponse);
	};
}
const status =
	(code: number, headers = {}): Answer =>
	(_, response) =>
		response.writeHead(code, headers).end();
const quick: HttpOptions = { attempts: 4, pauseMs: 1, silenceMs: 300 };
const download = () => httpSource(base, quick).verified(entry);
const ranges = () => requests.map(({ headers }) => headers.range ?? "");

describe("httpSource", () => {
	it("reads a file, and keeps the URL's query", async () => {
		answers = [serve(content)];
		expect(Buffer.from(await download()).equals(content)).toBe(true);
		expect(requests.map(({ url }) => url)).toEqual(["/models/x/shard-000.bin?key=secret"]);
	});

	it("goes on where a cut download ended, as often as it must", async () => {
		answers = [...Array.from({ length: 8 }, () => cut(20_000, serve(content))), serve(content)];
		let progress = 0;
		expect(
			Buffer.from(await httpSource(base, quick).verified(entry, { progress: (bytes) => (progress += bytes) })).equals(
				content,
			),
		).toBe(true);
		expect(ranges().slice(0, 3)).toEqual(["", "bytes=20000-", "bytes=40000-"]);
		expect(requests[1].headers["if-range"]).toBe('"v1"');
		expect(progress).toBe(content.length);
	});

	it("starts over when the file changed meanwhile, and when the server knows no ranges", async () => {
		const old = Buffer.alloc(content.length, 1);
		answers = [cut(50_000, serve(old, '"v0"')), serve(content)];
		expect(Buffer.from(await download()).equals(content)).toBe(true);
		answers = [cut(50_000, serve(content)), (_, response) => response.writeHead(200).end(content)];
		expect(Buffer.from(await download()).equals(content)).toBe(true);
	});

	it("takes no other range than it asked for, nor a changed ETag with it", async () => {
		const lie: Answer = (_, response) =>
			response
				.writeHead(206, { ETag: '"v1"', "Content-Range": `bytes 0-${content.length - 1}/${content.length}` })
				.end(content);
		const changed: Answer = (_, response) =>
			response
				.writeHead(206, { ETag: '"v2"', "Content-Range": `bytes 50000-${content.length - 1}/${content.length}` })
				.end(content.subarray(50_000));
		for (const answer of [lie, changed, status(416)]) {
			requests = [];
			answers = [cut(50_000, serve(content)), answer, serve(content)];
			expect(Buffer.from(await download()).equals(content)).toBe(true);
			expect(ranges()).toEqual(["", "bytes=50000-", ""]);
		}
	});

	it("tries again after silence, 503 and 429", async () => {
		const silent: Answer = (_, response) =>
			void response.writeHead(200, { "Content-Length": content.length }).write(content.subarray(0, 10));
		answers = [() => {}, silent, status(503), status(429, { "Retry-After": "0" }), serve(content)];
		expect(Buffer.from(await download()).equals(content)).toBe(true);
		expect(requests).toHaveLength(5);
	});

	it.each<[string, Answer[], RegExp, number]>([
		[
			"wrong bytes, twice",
			[serve(Buffer.alloc(content.length, 3))],
			/shard-000\.bin is damaged: its SHA-256 is .* upload the model again/,
			2,
		],
		[
			"a file of another size",
			[serve(content.subarray(1))],
			/it has 199999 bytes, the manifest says 200000, 4 times in a row/,
			4,
		],
		[
			"more bytes than there are",
			[(_, response) => response.writeHead(200).end(Buffer.concat([content, content]))],
			/sends more than the 200000 bytes/,
			4,
		],
		["a file that is not there", [status(404)], /the server answers 404 Not Found/, 1],
		["a server that is always busy", [status(500)], /it answers 500, 4 times in a row/, 4],
		[
			"cuts and changes in turn, without end",
			Array.from({ length: 99 }, (_, i) => cut(1000, serve(content, `"v${i}"`))),
			/cannot be downloaded/,
			0,
		],
	])("gives up on %s", async (_, from, message, count) => {
		answers = from;
		const error = await download().then(
			() => null,
			(error: Error) => error,
		);
		expect(error).toBeInstanceOf(ModelFormatError);
		expect(error?.message).toMatch(message);
		expect(error?.message).not.toContain("secret");
		if (count > 0) expect(requests).toHaveLength(count);
	});

	it("a model without measurements opens where a server answers 403 for what is not there", async () => {
		answers = [];
		const folder = findModel("emoji-128");
		const server = createServer((request, response) => {
			const name = `${request.url}`.split("/").at(-1) as string;
			if (name === "policies.json") return response.writeHead(403).end();
			readFile(join(folder, name)).then(
				(bytes) => response.end(bytes),
				() => response.writeHead(403).end(),
			);
		}).listen(0, "127.0.0.1");
		await once(server, "listening");
		const { port } = server.address() as AddressInfo;
		const { info } = await openModelSource(httpSource(`http://127.0.0.1:${port}/m`, quick));
		expect([info.id, info.calibration]).toEqual(["emoji-128", {}]);
		server.close();
	});

	it("asks once where asking again can change nothing", async () => {
		const garbage = createNetServer((socket) => void socket.end("SSH-2.0-none\r\n")).listen(0, "127.0.0.1");
		await once(garbage, "listening");
		const { port } = garbage.address() as AddressInfo;
		const [plain, secure] = [base, base.replace("http:", "https:")];
		let asked = 0;
		garbage.on("connection", () => asked++);
		for (const [url, why] of [
			[`http://127.0.0.1:${port}/m`, /cannot be downloaded: .*\. Check the address\.$/],
			[secure, /cannot be downloaded: .*\. Check the address\.$/],
			["http://127.0.0.1:9/m", /127\.0\.0\.1:9\/m\S* cannot be downloaded: .*bad port.*\. Check the address\.$/],
			[plain, /cannot be downloaded: .*redirect count exceeded.*\. Check the address\.$/],
		] as const) {
			answers = [(_, response) => void response.writeHead(302, { location: plain }).end()];
			// A second attempt would come after the test has ended.
			await expect(httpSource(url, { pauseMs: 1e6 }).verified(entry)).rejects.toThrow(why);
		}
		expect(asked).toBe(1);
		garbage.close();
	});

	it("asks for other headers once a server refuses those it has, and for no third ones", async () => {
		const given: string[] = [];
		const headers = async () => {
			given.push(`token ${given.length}`);
			return { authorization: given[given.length - 1] };
		};
		let good = "token 0";
		const guarded: Answer = (request, response) =>
			(request.headers.authorization === good ? serve(content) : status(401))(request, response);
		answers = [guarded];
		const source = httpSource(base, { ...quick, headers });
		for (let i = 0; i < 3; i++) await source.verified(entry);
		expect(given).toEqual(["token 0"]);
		good = "token 1";
		for (let i = 0; i < 2; i++) expect(Buffer.from(await source.verified(entry)).equals(content)).toBe(true);
		expect(given).toEqual(["token 0", "token 1"]);
		good = "none";
		await expect(source.verified(entry)).rejects.toThrow(/the server answers 401 Unauthorized/);
		expect(given).toHaveLength(3);
		const refusal = new Error("the edge knows no such secret");
		await expect(httpSource(base, { headers: () => Promise.reject(refusal) }).verified(entry)).rejects.toBe(refusal);
	});

	it("leaves nothing of its chunks on the signal of a whole load", async () => {
		answers = [
			async (_, response) => {
				for (let at = 0; at < content.length; at += 5000) {
					response.write(content.subarray(at, at + 5000));
					await new Promise((resolve) => setTimeout(resolve, 1));
				}
				response.end();
			},
		];
		const { signal } = new AbortController();
		const [any, add, remove] = [
			vi.spyOn(AbortSignal, "any"),
			vi.spyOn(signal, "addEventListener"),
			vi.spyOn(signal, "removeEventListener"),
		];
		let chunks = 0;
		await httpSource(base, quick).verified(entry, { signal, progress: () => chunks++ });
		expect(chunks).toBeGreaterThan(10);
		expect(any.mock.calls.length).toBeLessThan(3);
		expect(add.mock.calls.length).toBe(remove.mock.calls.length);
		any.mockRestore();
	});

	it("stops when told to, and refuses what is no http", async () => {
		answers = [(_, response) => void response.writeHead(200).write("x")];
		const abort = new AbortController();
		const reading = httpSource(base).verified(entry, { signal: abort.signal });
		setTimeout(() => abort.abort(), 50);
		await expect(reading).rejects.toThrow(/abort/i);
		for (const none of ["file:///etc", "http://", "https://a b/models"])
			expect(() => httpSource(none)).toThrow(
				new ModelFormatError(
					`${none} is not an http or https URL. Give the address of a model folder, as https://host/models/name.`,
				),
			);
	});
});

describe("cachedSource", () => {
	const cache = { dir: join(dir, "cache"), limit: 500_000 };
	const read = (source = cachedSource(httpSource(base, quick), cache), of = entry) => source.verified(of);
	const held = async () => (await readdir(cache.dir)).sort();

	it("downloads once, by hash, and again when the copy is damaged", async () => {
		answers = [serve(content)];
		for (let i = 0; i < 3; i++) expect(Buffer.from(await read()).equals(content)).toBe(true);
		expect(requests).toHaveLength(1);
		expect(await held()).toEqual([entry.sha256]);
		await writeFile(join(cache.dir, entry.sha256), Buffer.alloc(content.length));
		expect(Buffer.from(await read()).equals(content)).toBe(true);
		expect(requests).toHaveLength(2);
	});

	it("goes on with the part another process left, and starts over where that part is wrong", async () => {
		await rm(cache.dir, { recursive: true });
		const stop: Answer[] = [cut(70_000, serve(content)), ...Array.from({ length: 4 }, () => status(500))];
		answers = [...stop];
		await expect(read()).rejects.toThrow(/what came is kept/);
		expect(await held()).toEqual([`${entry.sha256}.part`, `${entry.sha256}.part.etag`]);
		answers = [serve(content)];
		requests = [];
		expect(Buffer.from(await read()).equals(content)).toBe(true);
		expect(ranges()).toEqual(["bytes=70000-"]);
		expect(requests[0].headers["if-range"]).toBe('"v1"');

		await rm(join(cache.dir, entry.sha256));
		await writeFile(join(cache.dir, `${entry.sha256}.part`), Buffer.alloc(70_000, 9));
		expect(Buffer.from(await read()).equals(content)).toBe(true);
		expect(await held()).toEqual([entry.sha256]);
	});

	it("keeps to its limit: the least recently used go, what is larger is not kept", async () => {
		const others = [1, 2, 3].map((fill) => Buffer.alloc(200_000, fill));
		for (const [i, bytes] of others.entries()) {
			answers = [serve(bytes)];
			await read(undefined, entryOf(bytes));
			await utimes(join(cache.dir, entryOf(bytes).sha256), i, i);
		}
		answers = [serve(content)];
		await read();
		expect(await held()).toEqual([entry.sha256, entryOf(others[2]).sha256].sort());
		requests = [];
		await read(cachedSource(httpSource(base, quick), { ...cache, limit: 100 }));
		expect(requests).toHaveLength(1);
	});

	it("leaves a download to the process that is at it", async () => {
		await rm(cache.dir, { recursive: true });
		answers = [serve(content)];
		await read();
		await rm(join(cache.dir, entry.sha256));
		await writeFile(join(cache.dir, `${entry.sha256}.lock`), `${process.ppid}`);
		expect(Buffer.from(await read()).equals(content)).toBe(true);
		expect(await held()).toEqual([`${entry.sha256}.lock`]);
	});

	it("leaves a download to another container with the same numbers, for as long as that one writes", async () => {
		await rm(cache.dir, { recursive: true });
		answers = [serve(content)];
		await read();
		await rm(join(cache.dir, entry.sha256));
		const lock = join(cache.dir, `${entry.sha256}.lock`);
		await writeFile(lock, `${process.pid} elsewhere`);
		expect(Buffer.from(await read()).equals(content)).toBe(true);
		expect(await held()).toEqual([`${entry.sha256}.lock`]);
		const before = Date.now() / 1000 - 600;
		await utimes(lock, before, before);
		await read();
		expect(await held()).toEqual([entry.sha256]);
	});

	it.each([
		["has ended", "999999999"],
		["had the number of this one, as in a container that was started again", `${process.pid} ${hostname()}`],
		["left nothing readable", ""],
	])("takes a download over from a process that %s", async (_, owner) => {
		await rm(cache.dir, { recursive: true });
		answers = [serve(content)];
		await read();
		await rm(join(cache.dir, entry.sha256));
		await writeFile(join(cache.dir, `${entry.sha256}.lock`), owner);
		await read();
		expect(await held()).toEqual([entry.sha256]);
	});

	it("lies where the environment says", () => {
		expect(defaultCache({ XDG_CACHE_HOME: "/c" })).toEqual({ dir: "/c/firstlight", limit: 20e9 });
		expect(defaultCache({ FIRSTLIGHT_CACHE: "/d", FIRSTLIGHT_CACHE_GB: "0.5" })).toEqual({ dir: "/d", limit: 5e8 });
		expect(() => defaultCache({ FIRSTLIGHT_CACHE_GB: "much" })).toThrow(/FIRSTLIGHT_CACHE_GB must be a number/);
	});
});

/** The files of a folder by their names, whatever stands before them. */
const serveFolder =
	(folder: string): Answer =>
	({ url }, response) =>
		void readFile(join(folder, new URL(url as string, base).pathname.split("/").at(-1) as string)).then(
			(bytes) => serve(bytes)({ headers: {} } as IncomingMessage, response),
			() => response.writeHead(404).end(),
		);

it("an address that names a digest gives that model or none", async () => {
	const folder = join(MODELS_DIR, "tiny");
	answers = [serveFolder(folder)];
	const { digest } = await openModelFolder(folder);
	const at = (digest: string) => `${new URL(base).origin}/v1/models/${digest}/files`;
	vi.stubEnv("FIRSTLIGHT_CACHE", join(dir, "pinned"));
	expect((await openModelAt(at(digest))).digest).toBe(digest);
	await expect(openModelAt(at(`sha256:${"0".repeat(64)}`))).rejects.toThrow(
		/holds another model than its address names: sha256:/,
	);
	vi.unstubAllEnvs();
});

it("the next shard comes while the tensors of one are used", async () => {
	const folder = join(MODELS_DIR, "emoji-128");
	answers = [serveFolder(folder)];
	let arrived = 0;
	const { manifest, tensors } = await openModelSource(httpSource(base), {
		progress: (bytes) => (arrived += bytes),
	});
	let held = 0;
	for await (const { bytes } of tensors()) {
		// As an upload does.
		for (const begun = performance.now(); performance.now() < begun + 8; );
		held += bytes.byteLength;
		if (arrived > manifest.shards[0].bytes) break;
	}
	expect(held).toBeLessThan(manifest.shards[0].bytes / 2);
});

it("a model over HTTP is the model in the folder", async () => {
	const folder = join(MODELS_DIR, "emoji-128");
	answers = [serveFolder(folder)];
	let bytes = 0;
	const remote = await openModelSource(httpSource(base), { progress: (more) => (bytes += more) });
	const local = await openModelFolder(findModel("emoji-128"));
	expect(remote.digest).toBe(local.digest);
	expect(remote.tokenizer).toEqual(local.tokenizer);
	const there = remote.tensors();
	for await (const tensor of local.tensors()) expect((await there.next()).value).toEqual(tensor);
	expect((await there.next()).done).toBe(true);
	expect(bytes).toBe(local.manifest.shards.reduce((sum, shard) => sum + shard.bytes, 0));
	expect((await openModelAt("tiny")).info.id).toBe("tiny");
});
