/** Where a binding holds little of anything, the golden bits are made all the same. */
import { expect, it } from "vitest";
import { Gpu } from "../../kernels/gpu/gpu.ts";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { changedCases, models, readBits, runBits } from "./bits.ts";

const gpu = await sharedGpu();
const small = new Gpu(gpu.device, gpu.facts, 2 ** 16);
/** Slices of these models' pictures do not fit such a binding: their statistics are summed in another order. */
const CODES_ALONE = ["infinity-patchify-tiny", "emoji-128", "emoji-256"];

it.each((await models()).filter((model) => model !== "emoji-256"))(
	"%s makes the same codes and pictures by bindings of 64 KiB",
	async (model) => {
		const { cases } = await readBits(model);
		const whole = await runBits(gpu, model, cases);
		const cut = await runBits(small, model, cases);
		const pictures = CODES_ALONE.includes(model) ? cut.map(({ codes }, i) => ({ ...whole[i], codes })) : cut;
		expect(changedCases(whole, pictures)).toEqual([]);
	},
);
