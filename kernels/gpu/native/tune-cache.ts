/** Measured choices kept on disk between processes: one JSON file by adapter and kernels version. */
import { createHash, randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import type { TuningStore } from "../tuning-store.ts";
import { cacheFolder } from "./cache-settings.ts";

const MOST_BYTES = 1 << 20;
const CacheFile = z.strictObject({
	adapter: z.string(),
	kernels: z.int(),
	tuning: z.record(z.string().max(100), z.string().max(100)),
});
type CacheFile = z.infer<typeof CacheFile>;

/** Choices in files of `folder`. A damaged file counts for nothing; one that cannot be written is warned of. */
export function diskTuning(folder = cacheFolder()): TuningStore {
	const fileOf = (adapter: string, kernels: number) => {
		const hash = createHash("sha256").update(`${adapter} ${kernels}`).digest("hex");
		return join(folder, `tuning-${hash.slice(0, 16)}.json`);
	};
	return {
		read(adapter, kernels) {
			try {
				const path = fileOf(adapter, kernels);
				if (statSync(path).size > MOST_BYTES) return {};
				const file = CacheFile.parse(JSON.parse(readFileSync(path, "utf8")));
				return file.adapter === adapter && file.kernels === kernels ? file.tuning : {};
			} catch {
				return {};
			}
		},
		write(adapter, kernels, tuning) {
			try {
				mkdirSync(folder, { recursive: true });
				const path = fileOf(adapter, kernels);
				const own = `${path}.${randomUUID()}`;
				writeFileSync(own, JSON.stringify({ adapter, kernels, tuning } satisfies CacheFile, null, "\t"));
				renameSync(own, path);
			} catch (error) {
				console.warn(
					`The measured kernel choices could not be kept in ${folder} (${error}). ` +
						"Name a writable folder in FIRSTLIGHT_CACHE.",
				);
			}
		},
	};
}
