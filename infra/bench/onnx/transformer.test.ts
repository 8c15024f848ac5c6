import { afterAll, beforeAll, expect, test } from "vitest";
import { sharedGpu } from "../../../kernels/gpu/native/testing.ts";
import { findModel } from "../../../model-shards/open.ts";
import { relativeError } from "../peers/contender.ts";
import { PROVIDERS } from "../peers/onnxruntime.ts";
import { conditionFeeds, exportedContender, type Generation, generateTapped } from "../peers/transformer.ts";
import { FORMULATIONS } from "./transformer.ts";

const provider = PROVIDERS.find(({ cpu }) => cpu)!;
const gpu = await sharedGpu();
let generation: Generation;
beforeAll(async () => {
	generation = await generateTapped(gpu, findModel("tiny"));
});
afterAll(() => generation?.model.destroy());

test.each(FORMULATIONS)(
	"the exported transformer gives the engine's logits at every scale: %s",
	async (formulation) => {
		const runtime = await provider.load();
		const contender = await exportedContender(
			runtime,
			provider,
			generation,
			generation.exported,
			formulation,
			await conditionFeeds(runtime, generation),
		);
		const logits = await contender.result();
		await contender.close();
		expect(logits.length).toBe(
			generation.exported.grids.reduce((sum, [h, w]) => sum + 2 * h * w * 2 * generation.exported.config.bits, 0),
		);
		expect(relativeError(logits, generation.logits)).toBeLessThan(2e-5);
	},
);

test("wrong inputs give other logits: the comparison can fail", async () => {
	const runtime = await provider.load();
	const feeds = await conditionFeeds(runtime, generation);
	const swapped = { ...feeds, text_k_0: feeds.text_v_0, text_v_0: feeds.text_k_0 };
	const contender = await exportedContender(runtime, provider, generation, generation.exported, "standard", swapped);
	expect(relativeError(await contender.result(), generation.logits)).toBeGreaterThan(1e-3);
	await contender.close();
});
