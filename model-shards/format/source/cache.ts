/**
 * Downloaded files on disk, by their SHA-256: equal shards of two models are one file, and no name of a server becomes
 * a path. The least recently used go when the limit is passed. A cut download stays as `.part` and goes on in the next
 * process.
 */
import { createHash, type Hash, randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cacheFolder, cacheLimit } from "../../../kernels/gpu/native/cache-settings.ts";
import { ModelFormatError } from "../errors.ts";
import type { FileEntry } from "../manifest.ts";
import { isAbsent, readVerified } from "./files.ts";
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
				// Whoever was at it until now may have brought it.
				const brought = await readHeld(dir, stored, options);
				if (brought) return brought;
				await download(http, entry, dir, options);
				await evict(dir, limit, entry.sha256);
				const { signal, progress } = options;
				const made = await readHeld(dir, stored, { signal });
				if (made) return made;
				// Somebody cleared the cache, or wrote into the same part.
				progress?.(-entry.bytes);
				return await http.verified(entry, options);
			} finally {
				await unlock();
			}
		},
	};
}

/** Into the part, and the part to its place. */
async function download(http: HttpSource, entry: FileEntry, dir: string, options: ReadOptions): Promise<void> {
	const path = join(dir, `${entry.sha256}.part`);
	const part = await partFile(path, entry.bytes);
	try {
		await http.download(entry, part, options);
	} finally {
		await part.close();
	}
	await rename(path, join(dir, entry.sha256)).catch((error: Error) => {
		if (!isAbsent(error)) unwritable(error);
	});
	await rm(`${path}.etag`, { force: true });
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
		const reason = systemError(error);
		// What could not be read may be sound; what somebody else took away is only not there.
		if (reason && !isAbsent(reason))
			throw new ModelFormatError(
				`${path}, a file of the cache, cannot be read: ${reason.message}. Mend that, remove the file, or set ` +
					"FIRSTLIGHT_CACHE to another folder.",
				{ cause: error },
			);
		if (!reason && !(error instanceof ModelFormatError)) throw error;
		await rm(path, { force: true });
		return null;
	}
}

/** The failed call to the system behind an error; undefined where there is none. */
const systemError = (error: unknown): NodeJS.ErrnoException | undefined =>
	[error, (error as Error).cause].find((each) => (each as NodeJS.ErrnoException | undefined)?.syscall) as
		| NodeJS.ErrnoException
		| undefined;

/**
 * The part of an earlier download, or a new one, as a destination. It is hashed while it comes. Bytes are written to
 * their places, so that two who take each other for dead write the same ones.
 */
async function partFile(path: string, size: number): Promise<Destination & { close(): Promise<void> }> {
	const handle = await open(path, constants.O_RDWR | constants.O_CREAT).catch(unwritable);
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
				for (let done = 0; done < bytes.byteLength; ) {
					const left = bytes.byteLength - done;
					const { bytesWritten } = await handle.write(bytes, done, left, part.have + done).catch(unwritable);
					done += bytesWritten;
				}
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

/** Tokens of those that this process has. */
const locks = new Set<string>();
/** As often a holder shows that it lives, by the lock's time. */
const BEAT_MS = 500;
/** A holder that may live but was silent for so long does not. */
const SILENT_MS = 120_000;

/** Takes the lock and gives what frees it; null where a living process holds it. */
async function lock(path: string): Promise<(() => Promise<void>) | null> {
	const token = randomUUID();
	for (;;) {
		try {
			await writeFile(path, `${process.pid} ${hostname()} ${token}`, { flag: "wx" });
			break;
		} catch (error) {
			if ((error as NodeJS.ErrnoException).code !== "EEXIST") unwritable(error as Error);
			if (await isHeld(path)) return null;
			await rm(path, { force: true }).catch(unwritable);
		}
	}
	locks.add(token);
	const beat = setInterval(() => void utimes(path, new Date(), new Date()).catch(() => {}), BEAT_MS).unref();
	return async () => {
		clearInterval(beat);
		locks.delete(token);
		// By now it may be gone, or another's. What was downloaded is good whatever becomes of the lock.
		const owner = await readFile(path, "utf8").catch(() => "");
		if (owner.endsWith(token)) await rm(path, { force: true }).catch(() => {});
	};
}

/** Whether whoever wrote the lock may still be at it. */
async function isHeld(path: string): Promise<boolean> {
	const text = await readFile(path, "utf8").catch(() => "");
	const [owner, host = hostname(), token = ""] = text.split(" ");
	if (locks.has(token)) return true;
	const another = host !== hostname() || (Number(owner) !== process.pid && alive(Number(owner)));
	// A number may be another process's by now.
	if (another) return Date.now() - Math.max(await changed(path), await changed(partOf(path))) < SILENT_MS;
	// It ended, or is being written, or is a container's with our name, where numbers are others: that one would beat.
	const before = await changed(path);
	await sleep(4 * BEAT_MS);
	return (await changed(path)) > before;
}

const partOf = (lock: string): string => lock.replace(/\.lock$/, ".part");

/** When the file was last written, in milliseconds since 1970; 0 where it is not there. */
const changed = async (path: string): Promise<number> => (await stat(path).catch(() => null))?.mtimeMs ?? 0;

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
