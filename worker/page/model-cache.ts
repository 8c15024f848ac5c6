/** A model's files in the browser's cache, by their hashes: read from there the next time, and checked again. */
import { sha256 } from "../../model-shards/format/sha256.ts";
import type { ModelSource } from "../../model-shards/format/source/source.ts";
import { allowed } from "./storage.ts";

const CACHE = "firstlight-models";

/** The same source, which asks the network only for what is not here. */
export function cachedInBrowser(source: ModelSource): ModelSource {
	return {
		...source,
		async verified(entry, options) {
			const cache = await allowed(() => caches.open(CACHE))?.catch(() => undefined);
			const address = `/firstlight-models/${entry.sha256}`;
			const found = await cache?.match(address);
			if (found) {
				const bytes = new Uint8Array(await found.arrayBuffer());
				if ((await sha256(bytes)) === entry.sha256) {
					options?.progress?.(bytes.byteLength);
					return bytes;
				}
				await cache?.delete(address);
			}
			const bytes = await source.verified(entry, options);
			// No room in the cache: it is downloaded again the next time.
			await cache?.put(address, new Response(bytes)).catch(() => {});
			return bytes;
		},
	};
}
