/**
 * Downloaded files on disk, by their SHA-256: equal shards of two models are one file, and no name of a server becomes
 * a path. The least recently used go when the limit is passed. A cut download stays as `.part` and goes on in the next
 * process.
 */
import { createHash, type Hash } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, stat, unlink, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { cacheFolder, cacheLimit } from "../../../kernels/gpu/native/cache-settings.ts";
import { ModelFormatError } from "../errors.ts";
import type { FileEntry } from "../manifest.ts";
import { readVerified } from "./files.ts";
import type { Destination, HttpSource } from "./http.ts";
import type { ModelSource, ReadOptions } from "./source.ts";

export interface CacheOptions {
	dir: string;
	/** Bytes the whole cache may take. */
	limit: number;
}

/** As the environment sets it. Throws RangeError for a limit that is none. */
export const defaultCache = (env: Record<string, string | undefined> = process.env): CacheOptions => ({
	dir: cacheFolder(env),
	limit: cacheLimit(env),
});

export function cachedSource(http: HttpSource, { dir, limit }: CacheOptions): ModelSource {
	return {
		label: http.label,
		small: http.small,
		async verified(entry, options = {}) {
			if (entry.bytes > limit) return await http.verified(entry, options);
			await mkdir(dir, { recursive: true }).catch(unwritable);
			const stored = { ...entry, file: entry.sha256 };
			const held = await readHeld(dir, stored, options);
			if (held) return held;
			const unlock = await lock(join(dir, `${entry.sha256}.lock`));
			// Another process is at it: a second download is better than waiting for what may never come.
			if (!unlock) return await http.verified(entry, options);
			try {
				const part = await partFile(join(dir, `${entry.sha256}.part`), entry.bytes);
				try {
					await http.download(entry, part, options);
				} finally {
					await part.close();
				}
				await rename(join(dir, `${entry.sha256}.part`), join(dir, entry.sha256));
				await rm(join(dir, `${entry.sha256}.part.etag`), { force: true });
				await evict(dir, limit, entry.sha256);
				return await readVerified(dir, stored);
			} finally {
				await unlock();
			}
		},
	};
}

/** The file if it is there and sound. A damaged one is taken away. */
async function readHeld(
	dir: string,
	stored: FileEntry,
	{ progress, signal }: ReadOptions,
): Promise<Uint8Array<ArrayBuffer> | null> {
	const path = join(dir, stored.file);
	if (!(await stat(path).catch(() => null))) return null;
	signal?.throwIfAborted();
	try {
		const bytes = await readVerified(dir, stored);
		await utimes(path, new Date(), new Date()).catch(() => {});
		progress?.(bytes.byteLength);
		return bytes;
	} catch (error) {
		// What could not be read may be sound.
		if (!(error instanceof ModelFormatError)) throw error;
		await rm(path, { force: true });
		return null;
	}
}

/** The part of an earlier download, or a new one, as a destination. It is hashed while it comes. */
async function partFile(path: string, size: number): Promise<Destination & { close(): Promise<void> }> {
	const handle = await open(path, "a+").catch(unwritable);
	try {
		const etagPath = `${path}.etag`;
		const { size: found } = await handle.stat();
		if (found > size) await handle.truncate(0);
		const have = found > size ? 0 : found;
		let hash: Hash = createHash("sha256");
		for (let at = 0; at < have; ) {
			const { bytesRead, buffer } = await handle.read(Buffer.alloc(Math.min(2 ** 22, have - at)), 0, null, at);
			if (bytesRead === 0) break;
			hash.update(buffer.subarray(0, bytesRead));
			at += bytesRead;
		}
		const part: Destination = {
			have,
			etag: await readFile(etagPath, "utf8").then(
				(text) => text || null,
				() => null,
			),
			async write(bytes) {
				hash.update(bytes);
				await handle.appendFile(bytes).catch(unwritable);
				part.have += bytes.byteLength;
			},
			async restart(etag) {
				hash = createHash("sha256");
				await handle.truncate(0);
				await writeFile(etagPath, etag ?? "");
				part.have = 0;
				part.etag = etag;
			},
			sha256: async () => hash.copy().digest("hex"),
		};
		return Object.assign(part, { close: () => handle.close() });
	} catch (error) {
		await handle.close();
		throw error;
	}
}

function unwritable(error: Error): never {
	throw new ModelFormatError(
		`The cache cannot be written: ${error.message}. Set FIRSTLIGHT_CACHE to a folder with room, or ` +
			"FIRSTLIGHT_CACHE_GB=0 to do without.",
		{ cause: error },
	);
}

/** Those that this process has. Another of its number may have left one: a container is started again with the same. */
const locks = new Set<string>();
/** Nobody knows whether one of another container lives, at the same folder: for so long it may write nothing. */
const SILENT_MS = 120_000;

/** Takes the lock and gives what frees it; null where a living process holds it. */
async function lock(path: string): Promise<(() => Promise<void>) | null> {
	for (;;) {
		try {
			await writeFile(path, `${process.pid} ${hostname()}`, { flag: "wx" });
			locks.add(path);
			return async () => {
				locks.delete(path);
				await unlink(path);
			};
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code !== "EEXIST") unwritable(error as Error);
			if (await isHeld(path)) return null;
			await rm(path, { force: true });
		}
	}
}

/** Whether whoever wrote the lock may still be at it. */
async function isHeld(path: string): Promise<boolean> {
	const [owner, host = hostname()] = (await readFile(path, "utf8").catch(() => "0")).split(" ");
	if (host === hostname()) return Number(owner) === process.pid ? locks.has(path) : alive(Number(owner));
	const written = await Promise.all(
		[path, path.replace(/\.lock$/, ".part")].map(async (file) => (await stat(file).catch(() => null))?.mtimeMs ?? 0),
	);
	return Date.now() - Math.max(...written) < SILENT_MS;
}

function alive(pid: number): boolean {
	if (!(pid > 0)) return false;
	try {
		process.kill(pid, 0);
		return true;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === "EPERM";
	}
}

async function evict(dir: string, limit: number, keep: string): Promise<void> {
	const files = [];
	for (const file of await readdir(dir)) {
		if (!/^[0-9a-f]{64}(\.part)?$/.test(file)) continue;
		const found = await stat(join(dir, file)).catch(() => null);
		// A young part is being downloaded, or will be.
		if (found && !(file.endsWith(".part") && Date.now() - found.mtimeMs < 86_400_000))
			files.push({ file, bytes: found.size, used: found.mtimeMs });
	}
	let total = files.reduce((sum, { bytes }) => sum + bytes, 0);
	for (const { file, bytes } of files.sort((a, b) => a.used - b.used)) {
		if (total <= limit) return;
		if (file === keep) continue;
		await rm(join(dir, file), { force: true });
		total -= bytes;
	}
}
