/**
 * Objects that have deleted all they had. workerd deletes their rows, but leaves each a database without a table, a
 * page long: two files for every picture there ever was. Cloudflare keeps none; here they are cleared away.
 */
import { existsSync, readdirSync, readlinkSync, realpathSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";

/** A table's rows begin on a page of their own, the second at the least. */
const ONE_PAGE = 4096;
/** What a database is given back from where a change of it was cut off: so much is its head, without a page. */
const BARE_JOURNAL = 512;
const AWAY = ".forgotten";
/** An object sleeps ten seconds after its last call; one that has just begun has not written yet. */
const ASLEEP_MS = 30_000;

/**
 * Removes them from a folder of objects. One that a process has open stays: its object is awake, and may write. Returns
 * how many were removed: none where the system does not tell what is open.
 */
export function clearForgotten(place: string): number {
	if (!existsSync(place)) return 0;
	// As the system names what is open.
	const folder = realpathSync(place);
	const named = (end: string) =>
		readdirSync(folder)
			.filter((name) => name.endsWith(end))
			.map((name) => join(folder, name));
	// Left by a process that was ended in the midst of this.
	for (const away of named(AWAY)) giveBack(away.slice(0, -AWAY.length));
	// First out of the way, then looked at: an object that wakes up in between begins a file of its own.
	const forgotten = named(".sqlite").filter((path) => isForgotten(path) && moved(path));
	if (forgotten.length === 0) return 0;
	const open = openFiles();
	const [held, free] = [true, false].map((is) => forgotten.filter((path) => (open?.has(path + AWAY) ?? true) === is));
	for (const path of free) {
		if (!existsSync(path)) rmSync(`${path}-journal`, { force: true });
		rmSync(path + AWAY);
	}
	for (const path of held) giveBack(path);
	return free.length;
}

/** Its object may have removed it itself meanwhile. */
function moved(path: string): boolean {
	try {
		renameSync(path, path + AWAY);
		return true;
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
		throw error;
	}
}

/** Where its object has not begun another meanwhile. */
function giveBack(path: string): void {
	if (existsSync(path)) rmSync(path + AWAY);
	else renameSync(path + AWAY, path);
}

/**
 * What a database has not taken in yet lies beside it, or what it has to be given back. One whose making was cut off
 * has the head of a journal alone.
 */
function isForgotten(path: string): boolean {
	const [file, log, journal] = ["", "-wal", "-journal"].map((end) => statSync(path + end, { throwIfNoEntry: false }));
	if (file === undefined || file.size > ONE_PAGE || log?.size || (journal?.size ?? 0) > BARE_JOURNAL) return false;
	return file.mtimeMs < Date.now() - ASLEEP_MS;
}

/** Of all processes that may be looked at, by their names now; null where the system has no such list. */
function openFiles(): ReadonlySet<string> | null {
	if (!existsSync("/proc/self/fd")) return null;
	const readable = <T>(read: () => T): T[] => {
		try {
			return [read()];
		} catch {
			return [];
		}
	};
	// What cannot be read has ended or was closed, or is another user's.
	return new Set(
		readdirSync("/proc")
			.filter((name) => /^\d+$/.test(name))
			.flatMap((id) =>
				readable(() => readdirSync(`/proc/${id}/fd`))
					.flat()
					.map((fd) => `/proc/${id}/fd/${fd}`),
			)
			.flatMap((link) => readable(() => readlinkSync(link))),
	);
}
