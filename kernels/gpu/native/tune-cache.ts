/** Measured choices kept between processes: one JSON file by adapter, driver, runtime and kernels version. */
import { createHash, randomUUID } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import type { Shapes } from "../../index.ts";
import { KERNELS_VERSION, tune } from "../../tune.ts";
import type { Gpu } from "../gpu.ts";
import type { Tuning } from "../variants.ts";
import type { AdapterFacts } from "./device.ts";

const MOST_BYTES = 1 << 20;
const CacheFile = z.strictObject({
	adapter: z.string(),
	kernels: z.literal(KERNELS_VERSION),
	tuning: z.record(z.string().max(100), z.string().max(100)),
});

/** FIRSTLIGHT_CACHE, else $XDG_CACHE_HOME/firstlight, else ~/.cache/firstlight. */
export const cacheFolder = (env: NodeJS.ProcessEnv = process.env) =>
	env.FIRSTLIGHT_CACHE || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "firstlight");

const named = ({ name, driver, runtime }: AdapterFacts) => [name, driver, runtime].join(" / ");
const fileOf = (facts: AdapterFacts, folder: string) =>
	join(
		folder,
		`tuning-${createHash("sha256")
			.update(`${named(facts)} ${KERNELS_VERSION}`)
			.digest("hex")
			.slice(0, 16)}.json`,
	);

/** What was measured on this adapter before; empty when nothing was, or the file is damaged. */
export function readTuning(facts: AdapterFacts, folder = cacheFolder()): Tuning {
	try {
		const file = fileOf(facts, folder);
		if (statSync(file).size > MOST_BYTES) return {};
		const { adapter, tuning } = CacheFile.parse(JSON.parse(readFileSync(file, "utf8")));
		return adapter === named(facts) ? tuning : {};
	} catch {
		return {};
	}
}

/** Keeps it for the next process; a folder that cannot be written costs only the next process's time. */
export function writeTuning(facts: AdapterFacts, tuning: Tuning, folder = cacheFolder()): void {
	try {
		mkdirSync(folder, { recursive: true });
		const file = fileOf(facts, folder);
		const own = `${file}.${randomUUID()}`;
		writeFileSync(
			own,
			JSON.stringify(
				{ adapter: named(facts), kernels: KERNELS_VERSION, tuning } satisfies z.infer<typeof CacheFile>,
				null,
				"\t",
			),
		);
		renameSync(own, file);
	} catch (error) {
		console.warn(
			`The measured kernel choices could not be kept in ${folder} (${error}). Name a writable folder in FIRSTLIGHT_CACHE.`,
		);
	}
}

export interface LoadTuning {
	/** What is measured: on a real adapter what the cache lacks (the default), the same on a CPU too, or all. */
	measure?: "missing, unless software" | "missing" | "all";
	progress?: (done: number, total: number) => void;
	folder?: string;
}

/**
 * Sets `gpu.tuning` from the cache, after measuring the shapes it lacks, and returns what was measured. By default not
 * on a CPU, where it would take minutes of the first start: there `firstlight tune` does it, and until then the
 * operators' own choices run.
 */
export async function loadTuning(
	gpu: Gpu,
	shapes: Shapes,
	{ measure = "missing, unless software", progress, folder = cacheFolder() }: LoadTuning = {},
): Promise<Tuning> {
	const cached = readTuning(gpu.facts, folder);
	gpu.tuning = cached;
	if (gpu.facts.software && measure === "missing, unless software") return {};
	const measured = await tune(gpu, shapes, { known: measure === "all" ? {} : cached, progress });
	if (Object.keys(measured).length === 0) return {};
	gpu.tuning = { ...cached, ...measured };
	writeTuning(gpu.facts, gpu.tuning, folder);
	return measured;
}
