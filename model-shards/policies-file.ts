/** `policies.json` beside a manifest: what was measured of a model's policies. A model may do without. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { type ModelInfo, Trade } from "../worker/protocol/model-info.ts";
import { Digest } from "../worker/protocol/plan.ts";
import { MissingFileError, ModelFormatError } from "./manifest.ts";
import type { ModelSource } from "./source.ts";

export const POLICIES_FILE = "policies.json";
const MAX_BYTES = 2 ** 20;

const PoliciesFile = z.looseObject({
	/** Digest of the manifest that it was measured with. */
	model: Digest,
	trades: z.record(z.string().min(1).max(64), Trade).optional(),
});
type PoliciesFile = z.infer<typeof PoliciesFile>;

/** Nothing where there is no such file. Throws ModelFormatError for a damaged file and for one of another model. */
export async function readMeasured(source: ModelSource, digest: string, signal?: AbortSignal): Promise<Pick<ModelInfo, "trades">> {
	const bytes = await source.small(POLICIES_FILE, MAX_BYTES, signal).catch((error: unknown) => {
		if (error instanceof MissingFileError) return null;
		throw error;
	});
	if (!bytes) return {};
	const { trades } = parsePolicies(new TextDecoder().decode(bytes), digest, `${source.label}/${POLICIES_FILE}`);
	return trades ? { trades } : {};
}

/** Puts the trades into the file, whatever else it holds. Throws ModelFormatError as reading does. */
export function writeTrades(dir: string, digest: string, trades: Record<string, Trade>): string {
	const path = join(dir, POLICIES_FILE);
	const held = existsSync(path) ? parsePolicies(readFileSync(path, "utf8"), digest, path) : { model: digest };
	writeFileSync(path, `${JSON.stringify({ ...held, trades }, null, "\t")}\n`);
	return path;
}

function parsePolicies(text: string, digest: string, where: string): PoliciesFile {
	let json: unknown;
	try {
		json = JSON.parse(text);
	} catch (error) {
		throw new ModelFormatError(`${where} is not JSON (${(error as Error).message}). Delete it; calibrate and eval write it anew.`);
	}
	const parsed = PoliciesFile.safeParse(json);
	if (!parsed.success) throw new ModelFormatError(`${where} is not what this version reads:\n${z.prettifyError(parsed.error)}\nDelete it; calibrate and eval write it anew.`);
	if (parsed.data.model !== digest) throw new ModelFormatError(`${where} was measured on model ${parsed.data.model}; this is ${digest}. Delete it; calibrate and eval write it anew.`);
	return parsed.data;
}
