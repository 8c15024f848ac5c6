/** The cache of downloads among other processes, and on a disk that fails. */
import { createHash } from "node:crypto";
import fs, { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { createServer, type ServerResponse } from "node:http";
import { syncBuiltinESMExports } from "node:module";
import type { AddressInfo } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, it, vi } from "vitest";
import { ModelFormatError } from "../errors.ts";
import { cachedSource } from "./cache.ts";
import { httpSource } from "./http.ts";

const content = Buffer.from(Uint8Array.from({ length: 50_000 }, (_, i) => (i * 7919) >> 3));
const sha256 = createHash("sha256").update(content).digest("hex");
const entry = { file: "shard-000.bin", bytes: content.length, sha256 };
const dir = await mkdtemp(join(tmpdir(), "cache-"));
const [kept, part, lock] = ["", ".part", ".lock"].map((ending) => join(dir, `${sha256}${ending}`));

const HALF = 20_000;
let asked = 0;
/** What happens between the first half of the file and the second, of the first answer. */
let between = async (): Promise<void> => {};
async function answer(response: ServerResponse): Promise<void> {
	response.writeHead(200, { "Content-Length": content.length });
	if (asked++ > 0) return void response.end(content);
	response.write(content.subarray(0, HALF));
	// Where the file is not kept there is no part.
	if (await stat(part).catch(() => null))
		await vi.waitFor(async () => expect((await stat(part)).size).toBe(HALF), { timeout: 10_000 });
	await between();
	response.end(content.subarray(HALF));
}
const server = createServer((_, response) => void answer(response));
await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
const { port } = server.address() as AddressInfo;
afterAll(async () => {
	server.closeAllConnections();
	server.close();
	await rm(dir, { recursive: true });
});
beforeEach(async () => {
	await rm(dir, { recursive: true });
	await mkdir(dir);
	asked = 0;
	between = async () => {};
});
const read = async () =>
	Buffer.from(
		await cachedSource(httpSource(`http://127.0.0.1:${port}/m`, { pauseMs: 1 }), { dir, limit: 1e6 }).verified(entry),
	).equals(content);

it.each([
	["another container with our name and number", `${process.pid} ${hostname()} another`],
	["a process that has not written its name yet", ""],
	["a process whose number is nobody's here, as in another container with our name", `999999999 ${hostname()} another`],
])("leaves a download to %s, for as long as it shows that it lives", async (_, owner) => {
	await writeFile(lock, owner);
	const beat = setInterval(() => void utimes(lock, new Date(), new Date()), 200);
	expect(await read()).toBe(true);
	clearInterval(beat);
	expect(await readdir(dir)).toEqual([`${sha256}.lock`]);
	expect(await readFile(lock, "utf8")).toBe(owner);
	expect(await read()).toBe(true);
	expect(await readdir(dir)).toEqual([sha256]);
});

it("takes a download over from a living process that has been silent for long: it is another one by now", async () => {
	await writeFile(lock, `${process.ppid} ${hostname()} another`);
	await utimes(lock, 1, 1);
	expect(await read()).toBe(true);
	expect(await readdir(dir)).toEqual([sha256]);
});

it("shows that it lives while a server is silent", async () => {
	between = async () => {
		await utimes(lock, 1, 1);
		await vi.waitFor(async () => expect((await stat(lock)).mtimeMs).toBeGreaterThan(1e6), { timeout: 5000 });
	};
	expect(await read()).toBe(true);
});

it.each<[string, () => Promise<void>, string[]]>([
	["its lock was taken away", () => rm(lock), [sha256]],
	["its lock is another's by now", () => writeFile(lock, "1 elsewhere another"), [sha256, `${sha256}.lock`]],
	["its part was taken away", () => rm(part), []],
	["its part was finished by another", () => rename(part, kept), [sha256]],
	["another began the same part anew", () => writeFile(part, content.subarray(0, 10_000)), []],
])("gives what it downloaded although %s", async (_, meanwhile, left) => {
	between = meanwhile;
	expect(await read()).toBe(true);
	expect((await readdir(dir)).sort()).toEqual(left);
});

it("goes on with a part that another process writes as well, and both write the same", async () => {
	between = async () => writeFile(part, content.subarray(0, 30_000));
	expect(await read()).toBe(true);
	expect((await readFile(kept)).equals(content)).toBe(true);
	expect(asked).toBe(1);
});

/** Has the system fail in one of its calls for a file, until it is called to stop. */
function failing(call: "open" | "read", code: string, file: string): () => void {
	const fail = () => {
		throw Object.assign(new Error(`${code}: it fails`), { code, syscall: call, path: file });
	};
	const { open } = fs;
	const spied = vi.spyOn(fs, "open").mockImplementation(async (path, ...how) => {
		if (path === file && call === "open") fail();
		const handle = await open(path, ...how);
		return path === file ? Object.assign(handle, { read: fail }) : handle;
	});
	syncBuiltinESMExports();
	return () => {
		spied.mockRestore();
		syncBuiltinESMExports();
	};
}

it.each([
	["may not be opened", "open", "EACCES"],
	["the disk does not give", "read", "EIO"],
] as const)("keeps a file that %s, and says what to do", async (_, call, code) => {
	expect(await read()).toBe(true);
	const mend = failing(call, code, kept);
	await expect(read()).rejects.toThrow(
		new ModelFormatError(
			`${kept}, a file of the cache, cannot be read: ${code}: it fails. Mend that, remove the file, or set ` +
				"FIRSTLIGHT_CACHE to another folder.",
		),
	);
	mend();
	expect(await read()).toBe(true);
	expect(asked).toBe(1);
});
