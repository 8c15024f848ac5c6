/** The settings of the cache on disk: where downloads and measured kernel choices are kept, and how much of it. */
import { accessSync, constants, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

const GIGABYTES = 20;

/**
 * FIRSTLIGHT_CACHE, else $XDG_CACHE_HOME/firstlight, else ~/.cache/firstlight, or where that cannot be written and
 * there is a STATE_DIR, the folder cache in it. An empty variable is an unset one.
 */
export function cacheFolder(env: Environment = process.env): string {
	if (env.FIRSTLIGHT_CACHE) return env.FIRSTLIGHT_CACHE;
	const usual = join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "firstlight");
	return !env.STATE_DIR || writable(usual) ? usual : join(env.STATE_DIR, "cache");
}

/** Whether a folder can be written, or made: the nearest one above it that is there can. */
function writable(folder: string): boolean {
	try {
		accessSync(folder, constants.W_OK);
		return statSync(folder).isDirectory();
	} catch (error) {
		const above = dirname(folder);
		return (error as NodeJS.ErrnoException).code === "ENOENT" && above !== folder && writable(above);
	}
}

/**
 * Bytes that downloads may take there: FIRSTLIGHT_CACHE_GB gigabytes, 20 where it is unset or empty, and 0 keeps
 * nothing. Throws RangeError for what is no such number.
 */
export function cacheLimit(env: Environment = process.env): number {
	const text = env.FIRSTLIGHT_CACHE_GB || String(GIGABYTES);
	const gigabytes = text.trim() === "" ? Number.NaN : Number(text);
	if (!(gigabytes >= 0))
		throw new RangeError(`FIRSTLIGHT_CACHE_GB must be a number of gigabytes from 0 on, not "${text}".`);
	return gigabytes * 1e9;
}
