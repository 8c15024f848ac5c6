import { it } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { expectRecorded, LARGEST } from "./bits-recorded.ts";

const gpu = await sharedGpu();

it(`${LARGEST} makes the recorded codes and pictures by every plan`, async (context) =>
	await expectRecorded(gpu, LARGEST, context));
