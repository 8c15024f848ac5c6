/** The settings of the cache on disk: where downloads and measured kernel choices are kept, and how much of it. */
import { homedir } from "node:os";
import { join } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

const GIGABYTES = 20;

/** FIRSTLIGHT_CACHE, else $XDG_CACHE_HOME/firstlight, else ~/.cache/firstlight. An empty variable is an unset one. */
export const cacheFolder = (env: Environment = process.env): string =>
	env.FIRSTLIGHT_CACHE || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "firstlight");

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
