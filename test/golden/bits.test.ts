/** What the engine computes stays, bit for bit, or its version was raised. */
import { expect, it } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { models } from "./bits.ts";
import { expectRecorded, LARGEST } from "./bits-recorded.ts";

const gpu = await sharedGpu();
const all = await models();

it.for(all.filter((model) => model !== LARGEST))(
	"%s makes the recorded codes and pictures by every plan",
	async (model, context) => await expectRecorded(gpu, model, context),
);

// By every plan: bits.long.test.ts.
it(`${LARGEST} makes the recorded codes and pictures, exact and with what late scales leave out`, async (context) => {
	expect(all).toContain(LARGEST);
	await expectRecorded(gpu, LARGEST, context, ["exact", "stagevar", "stagevar-auto"]);
});
