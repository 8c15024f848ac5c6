/** The engine against the official code's recordings, on this machine's adapter, in Node. */
import { it } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { BUNDLED, SETS } from "./sets.ts";
import { expectVerified } from "./verified.ts";

const gpu = await sharedGpu();

it.each<[name: string, runs: number, model?: string]>([...SETS, ...BUNDLED])(
	"every recorded tensor of %s is within its bound",
	async (name, runs, model) => await expectVerified(gpu, name, runs, model),
);
