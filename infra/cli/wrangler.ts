import { createRequire } from "node:module";
import { join } from "node:path";

/** A command line of the wrangler that comes with us. */
export function wrangler(...args: string[]): string[] {
	return [
		process.execPath,
		join(createRequire(import.meta.url).resolve("wrangler/package.json"), "..", "bin", "wrangler.js"),
		...args,
	];
}

/** Keeps wrangler from asking, advertising and reporting. */
export const WRANGLER_ENV: Record<string, string> = {
	WRANGLER_SEND_METRICS: "false",
	WRANGLER_HIDE_BANNER: "true",
	CI: "true",
};
