/**
 * `policies.json` beside a manifest: what was measured of the model, for policies to plan by. Not part of the model's
 * identity.
 */
import { z } from "zod";
import { POLICIES_FILE } from "../../worker/protocol/model-files.ts";
import { Calibration, type ModelInfo, Stages, Trade } from "../../worker/protocol/model-info.ts";
import { Digest } from "../../worker/protocol/plan.ts";
import { currentPolicyName } from "../../worker/protocol/policy-names.ts";
import { listed, MissingFileError, ModelFormatError, WithheldFileError } from "./errors.ts";
import { parseJson } from "./json.ts";
import type { ModelSource } from "./source/source.ts";

export { POLICIES_FILE };
export const MAX_POLICIES_BYTES = 2 ** 20;

const Format = z.literal("firstlight-policies");
const ScheduleName = z.string().min(1).max(64);
const Trades = z.record(z.string().min(1).max(64), Trade).default({});

const Version2 = z.strictObject({
	format: Format,
	version: z.literal(2),
	/** Digest of the model that was measured. */
	model: Digest,
	/** By schedule (`firstlight calibrate`). */
	calibration: z.record(ScheduleName, Calibration),
	/** By policy (`firstlight eval`). */
	trades: Trades,
});
/** What policies need stood beside the bounds of the stages. */
const Version1 = z.strictObject({
	format: Format,
	version: z.literal(1),
	model: Digest,
	calibration: z.record(ScheduleName, z.looseObject(Stages.shape)),
	trades: Trades,
});

export type PoliciesFile = z.infer<typeof Version2>;

/** The file as it is written now, out of what any version wrote. */
export const PoliciesFile: z.ZodType<PoliciesFile> = z
	.discriminatedUnion("version", [Version1, Version2])
	.transform((file): PoliciesFile => (file.version === 2 ? file : upgraded(file)));

function upgraded({ format, model, calibration, trades }: z.infer<typeof Version1>): PoliciesFile {
	return {
		format,
		version: 2,
		model,
		calibration: Object.fromEntries(
			Object.entries(calibration).map(([schedule, { structureFrom, fidelityFrom, ...measured }]) => [
				schedule,
				{ structureFrom, fidelityFrom, measured },
			]),
		),
		trades: Object.fromEntries(Object.entries(trades).map(([policy, trade]) => [currentPolicyName(policy), trade])),
	};
}

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
		if (error instanceof MissingFileError || error instanceof WithheldFileError) return null;
		throw error;
	}
	const parsed = PoliciesFile.safeParse(parseJson(bytes, path));
	if (!parsed.success) throw new ModelFormatError(`${path} is not sound:\n${z.prettifyError(parsed.error)}`);
	const problems = policiesProblems(parsed.data, info);
	if (problems.length > 0) throw new ModelFormatError(`${path} does not fit its model:\n${listed(problems)}`);
	return parsed.data;
}

/**
 * What of the file does not fit the model; empty where all does. What policies need beside the bounds of the stages is
 * for them to look at.
 */
function policiesProblems({ model, calibration }: PoliciesFile, { digest, schedules }: ModelInfo): string[] {
	if (model !== digest)
		return [`it was measured on ${model}; this is ${digest}. Delete it, then run firstlight calibrate`];
	return Object.entries(calibration).flatMap(([name, { structureFrom, fidelityFrom }]) => {
		if (!Object.hasOwn(schedules, name)) return [`calibration ${name} is of no schedule`];
		const scales = schedules[name].grids.length;
		return structureFrom <= fidelityFrom && fidelityFrom <= scales
			? []
			: [`calibration ${name}: expected structureFrom <= fidelityFrom <= ${scales}`];
	});
}

/** The file of a model of which nothing was measured. */
export const emptyPolicies = (model: Digest): PoliciesFile => ({
	format: "firstlight-policies",
	version: 2,
	model,
	calibration: {},
	trades: {},
});

/** The file as text: one line a number, so that a diff shows what changed. */
export const policiesText = (file: PoliciesFile): string => `${JSON.stringify(file, null, "\t")}\n`;
