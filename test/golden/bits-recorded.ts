/** What bits.test.ts and bits.long.test.ts share. */
import { expect } from "vitest";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { arithmetic, changedCases, readBits, runBits, VERSIONS } from "./bits.ts";

/** Its pictures take longest; tiny is of its family and has its plans. */
export const LARGEST = "emoji-128";

const RECORD = "then record what is computed now: node test/golden/bits.ts";

/** Runs the recorded plans of a model, or those `of` these names. */
export async function expectRecorded(gpu: Gpu, model: string, of?: readonly string[]): Promise<void> {
	const { versions, arithmetic: recorded, cases } = await readBits(model);
	expect(versions, `The bits were recorded under other versions: look why they were raised, ${RECORD}`).toEqual(
		VERSIONS,
	);
	const unrecorded = cases.flatMap(({ name, codes }) => (codes === "" ? [name] : []));
	expect(unrecorded, "These were never recorded; node test/golden/bits.ts records them.").toEqual([]);
	const run = cases.filter(({ name }) => of?.includes(name) ?? true);
	expect(run.length).toBe(of?.length ?? cases.length);
	const made = await runBits(gpu, model, run);
	if ((await arithmetic(gpu)) !== recorded)
		return console.warn(
			`${model}: this processor's arithmetic is not the recorded one, so only that it runs was tested.`,
		);
	const message = `Other bits than recorded. If that is meant, raise ENGINE_VERSION or KERNELS_VERSION, ${RECORD}`;
	expect(changedCases(run, made), message).toEqual([]);
}
