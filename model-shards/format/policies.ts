/**
 * `policies.json` beside a manifest: what was measured of the model, for policies to plan by. Not part of the model's
 * identity.
 */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { POLICIES_FILE } from "../../worker/protocol/model-files.ts";
import { Calibration, type ModelInfo, Trade } from "../../worker/protocol/model-info.ts";
import { Digest } from "../../worker/protocol/plan.ts";
import { listed, MissingFileError, ModelFormatError } from "./errors.ts";
import { isAbsent } from "./source/files.ts";
import type { ModelSource } from "./source/source.ts";

export { POLICIES_FILE };
export const MAX_POLICIES_BYTES = 2 ** 20;

export const PoliciesFile = z.strictObject({
	format: z.literal("firstlight-policies"),
	version: z.literal(1),
	/** Digest of the model that was measured. */
	model: Digest,
	/** By schedule (`firstlight calibrate`). */
	calibration: z.record(z.string().min(1).max(64), Calibration),
	/** By policy (`firstlight eval`). */
	trades: z.record(z.string().min(1).max(64), Trade).default({}),
});
export type PoliciesFile = z.infer<typeof PoliciesFile>;

/** Null where the model has none. Throws ModelFormatError for one of another model, or that does not fit it. */
export async function readPolicies(
	source: ModelSource,
	info: ModelInfo,
	signal?: AbortSignal,
): Promise<PoliciesFile | null> {
	const path = `${source.label}/${POLICIES_FILE}`;
	let bytes: Uint8Array;
	try {
		bytes = await source.small(POLICIES_FILE, MAX_POLICIES_BYTES, signal);
	} catch (error) {
		if (error instanceof MissingFileError) return null;
		throw error;
	}
	const parsed = PoliciesFile.safeParse(parseJson(bytes, path));
	if (!parsed.success) throw new ModelFormatError(`${path} is not sound:\n${z.prettifyError(parsed.error)}`);
	const problems = policiesProblems(parsed.data, info);
	if (problems.length > 0) throw new ModelFormatError(`${path} does not fit its model:\n${listed(problems)}`);
	return parsed.data;
}

/** What of the file does not fit the model; empty where all does. */
export function policiesProblems(
	{ model, calibration }: PoliciesFile,
	{ digest, schedules, chunks }: ModelInfo,
): string[] {
	if (model !== digest) return [`it was measured on ${model}; this is ${digest}. Run firstlight calibrate again`];
	return Object.entries(calibration).flatMap(
		([name, { structureFrom, fidelityFrom, skipFrom, guidanceTo, rankRatio, detailRatio, look }]) => {
			if (!Object.hasOwn(schedules, name)) return [`calibration ${name} is of no schedule`];
			const problems: string[] = [];
			const scales = schedules[name].grids.length;
			if (
				structureFrom > fidelityFrom ||
				Math.max(fidelityFrom, skipFrom, guidanceTo, look.from) > scales ||
				look.after >= look.from
			) {
				problems.push(
					`calibration ${name}: expected structureFrom <= fidelityFrom <= ${scales}, skipFrom, guidanceTo and look.from <= ${scales}, and look.after < look.from`,
				);
			}
			for (const scale of [rankRatio, detailRatio].flatMap(Object.keys))
				if (Number(scale) >= scales) problems.push(`calibration ${name}: scale ${scale} is not below ${scales}`);
			for (const [scale, ratios] of Object.entries(rankRatio)) {
				if (ratios.length !== chunks.length)
					problems.push(`calibration ${name}: rankRatio ${scale} needs ${chunks.length} ratios, one per chunk`);
			}
			return problems;
		},
	);
}

/** What a file holds, to be added to. One that is of another model or unsound is begun anew. */
export async function heldPolicies(path: string, model: string): Promise<PoliciesFile> {
	const text = await readFile(path).catch((error: unknown) => {
		if (isAbsent(error)) return null;
		throw error;
	});
	const held = text === null ? null : PoliciesFile.safeParse(parseJson(text, path));
	return held?.success && held.data.model === model
		? held.data
		: { format: "firstlight-policies", version: 1, model, calibration: {}, trades: {} };
}

/** The file as text: one line a number, so that a diff shows what changed. */
export const policiesText = (file: PoliciesFile): string => `${JSON.stringify(file, null, "\t")}\n`;

function parseJson(bytes: Uint8Array, path: string): unknown {
	try {
		return JSON.parse(new TextDecoder().decode(bytes));
	} catch (error) {
		throw new ModelFormatError(`${path} is not JSON: ${(error as Error).message}`);
	}
}
