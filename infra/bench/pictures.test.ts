/** The benchmark of pictures whose plans are settled while they are made. */
import { expect, it } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { benchPictures } from "./pictures.ts";

const gpu = await sharedGpu();

it("what a picture leaves out has no time, and operations are those of its settled plan", async () => {
	const folder = await openModelFolder(findModel("tiny"));
	const { policies } = await benchPictures(gpu, folder, 1, ["exact", "skipvar", "stagevar-auto"]);
	for (const { scales } of policies)
		for (const { transformer_ms, transformer_gflops } of scales) {
			expect(transformer_ms).toBeGreaterThan(0);
			expect(transformer_gflops).toBeGreaterThan(0);
		}
	const [exact, skipvar, auto] = policies.map(({ scales }) => scales);
	expect([exact, skipvar].map((scales) => scales.map(({ scale }) => scale))).toEqual([
		[0, 1, 2, 3],
		[0, 1, 2],
	]);
	const [whole, fewer] = [exact, auto].map((scales) => scales[3].transformer_ms * scales[3].transformer_gflops);
	expect(fewer).toBeLessThan(whole / 2);
});
