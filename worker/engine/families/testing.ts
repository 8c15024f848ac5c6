/** What the tests of each family's generator share: the recorded weights, opened, and what to compare. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ReferenceRun, readReferenceSet } from "../../../infra/verify/reference-set.ts";
import type { Gpu } from "../../../kernels/gpu/gpu.ts";
import { sharedGpu } from "../../../kernels/gpu/native/testing.ts";
import { importReferenceSet } from "../../../model-shards/import/reference.ts";
import { openModelFolder } from "../../../model-shards/open.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import { openModel } from "../open.ts";
import type { GenerateOptions, GenerateResult, LoadedModel } from "../types.ts";

export type Ask = Omit<GenerateOptions, "model">;

export interface Opened {
	gpu: Gpu;
	model: LoadedModel;
	/** What was recorded of the set. */
	runs: ReferenceRun[];
	close(): Promise<void>;
}

/** A reference set's model with three slots. */
export async function openSet(set: string): Promise<Opened> {
	const reference = join(import.meta.dirname, "..", "..", "..", "test", "reference", set);
	const dir = await mkdtemp(join(tmpdir(), "families-"));
	await importReferenceSet(join(reference, "manifest.json"), dir);
	const gpu = await sharedGpu();
	const model = await openModel(gpu, await openModelFolder(dir), { slots: 3 });
	const close = async () => {
		model.destroy();
		await rm(dir, { recursive: true });
	};
	return { gpu, model, runs: await readReferenceSet(reference), close };
}

export const codes = (results: GenerateResult[]): Uint8Array[] =>
	results.flatMap((result) => (result.kind === "scale" ? [result.codes] : []));

/** Codes and pictures without the times. */
export const made = (results: GenerateResult[]): unknown[] =>
	results.map((result) =>
		result.kind === "scale"
			? [result.index, result.codes, result.preview]
			: result.kind === "final"
				? ["final", result.image]
				: result,
	);

export const codesAndImage = (results: GenerateResult[]): unknown[] => [
	codes(results),
	results.flatMap((result) => (result.kind === "final" ? [result.image] : []))[0],
];

/** The plan with its scales sampled so. */
export const sampled = (plan: StagePlan, topK = 0, topP = 0): StagePlan => ({
	...plan,
	steps: plan.steps.map((step) => (step.kind === "run" ? { ...step, topK, topP } : step)),
});
