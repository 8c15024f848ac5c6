/** What the engine computes stays, bit for bit, or its version was raised. */
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { arithmetic, changedCases, models, readBits, runBits, VERSIONS } from "./bits.ts";

let gpu: Gpu;
beforeAll(async () => {
	gpu = await openGpu();
});
afterAll(() => gpu.destroy());

const RECORD = "then record what is computed now: node test/golden/bits.ts";

it.each(await models())("%s makes the recorded codes and pictures by every plan", async (model) => {
	const { versions, arithmetic: recorded, cases } = await readBits(model);
	expect(versions, `The bits were recorded under other versions: look why they were raised, ${RECORD}`).toEqual(
		VERSIONS,
	);
	const unrecorded = cases.flatMap(({ name, codes }) => (codes === "" ? [name] : []));
	expect(unrecorded, "These were never recorded; node test/golden/bits.ts records them.").toEqual([]);
	const made = await runBits(gpu, model, cases);
	if ((await arithmetic(gpu)) !== recorded)
		return console.warn(
			`${model}: this processor's arithmetic is not the recorded one, so only that it runs was tested.`,
		);
	const message = `Other bits than recorded. If that is meant, raise ENGINE_VERSION or KERNELS_VERSION, ${RECORD}`;
	expect(changedCases(cases, made), message).toEqual([]);
});
