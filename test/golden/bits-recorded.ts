/** What bits.test.ts and bits.long.test.ts share. */
import { expect, type TestContext } from "vitest";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { arithmetic, changedCases, readBits, runBits, VERSIONS } from "./bits.ts";

/** It has the most plans of those whose pictures take long; tiny is of its family and has its plans. */
export const LARGEST = "emoji-128";

const RECORD = "then record what is computed now: node test/golden/bits.ts";

/**
 * Runs the recorded plans of a model, or those `of` these names. On a processor of another arithmetic it shows only
 * that they run, and the test counts as skipped.
 */
export async function expectRecorded(
	gpu: Gpu,
	model: string,
	{ skip }: Pick<TestContext, "skip">,
	of?: readonly string[],
): Promise<void> {
	const { versions, arithmetic: recorded, cases } = await readBits(model);
	expect(versions, `The bits were recorded under other versions: look why they were raised, ${RECORD}`).toEqual(
		VERSIONS,
	);
	const unrecorded = cases.flatMap(({ name, codes }) => (codes === "" ? [name] : []));
	expect(unrecorded, "These were never recorded; node test/golden/bits.ts records them.").toEqual([]);
	const run = cases.filter(({ name }) => of?.includes(name) ?? true);
	expect(run.length).toBe(of?.length ?? cases.length);
	const made = await runBits(gpu, model, run);
	skip((await arithmetic(gpu)) !== recorded, "It runs, but this processor's arithmetic is not the recorded one.");
	const message = `Other bits than recorded. If that is meant, raise ENGINE_VERSION or KERNELS_VERSION, ${RECORD}`;
	expect(changedCases(run, made), message).toEqual([]);
}
