import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { importFolder } from "../../model-shards/import/folder.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { openModel } from "../../worker/engine/open.ts";
import { exact } from "../../worker/policies/exact.ts";
import { difference } from "./against.ts";

test("a model does not differ from itself, and less from its int8 copy than from its int4 one", async () => {
	const gpu = await sharedGpu();
	const dir = await mkdtemp(join(tmpdir(), "against-"));
	try {
		const original = await openModelFolder(findModel("tiny"));
		const model = await openModel(gpu, original);
		const plan = exact.plan(model.info, {});
		const itself = await difference(model, model, plan, { prompt: "a photo of a cat" }, 3);
		expect(itself).toEqual({
			scales: plan.steps.map((_, scale) => ({ scale, logits: 0, bits: 1 })),
			samePsnr: Infinity,
			seedPsnr: Infinity,
		});
		// A name that the model does not know is said, not compared as nothing.
		const generate = model.generate.bind(model);
		const misnamed = { ...model, generate, names: { ...model.names, mixed: "elsewhere" } };
		await expect(difference(misnamed, model, plan, { prompt: "a photo of a cat" }, 3)).rejects.toThrow(
			/^tiny computed no tensor s0\.elsewhere to compare\.$/,
		);
		const worst = [];
		for (const dtype of ["int8", "int4"] as const) {
			await importFolder(original, { out: join(dir, dtype), dtype });
			const copy = await openModel(gpu, await openModelFolder(join(dir, dtype)));
			const { scales, samePsnr } = await difference(model, copy, plan, { prompt: "a photo of a cat" }, 3);
			// What is quantised is the transformer: the decoder makes the same picture of the same codes.
			expect(samePsnr).toBeGreaterThan(50);
			worst.push(Math.max(...scales.map(({ logits }) => logits)));
			copy.destroy();
		}
		expect(worst[0]).toBeGreaterThan(0);
		expect(worst[0]).toBeLessThan(worst[1] / 5);
	} finally {
		await rm(dir, { recursive: true });
	}
});
