/** What V8 made of modules, kept for the next process: https://nodejs.org/api/module.html#module-compile-cache. */
import * as modules from "node:module";
import { join } from "node:path";
import { cacheFolder } from "../../kernels/gpu/native/cache-settings.ts";

/** Where it is kept, in a folder of the cache. */
export const compiledIn = (cache: string): string => join(cache, "node");

/** Of what this process loads from now on. Nothing where it cannot be written, or on Deno, which has its own. */
export function keepCompiled(): void {
	try {
		modules.enableCompileCache?.(compiledIn(cacheFolder()));
	} catch {
		// Who has no home has no cache there.
	}
}
