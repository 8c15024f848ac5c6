/** What is compiled ahead of a picture is all that it needs. */
import { afterEach, expect, test, vi } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { policies } from "../policies/index.ts";
import { openModel } from "./open.ts";

const gpu = await sharedGpu();
afterEach(() => vi.restoreAllMocks());

test("a picture of any prompt of up to 32 tokens finds all of its kernels compiled", async () => {
	const folder = await openModelFolder(findModel("emoji-128"));
	const model = await openModel(gpu, folder);
	const [plan, ...plans] = ["exact", "stagevar"].map((name) => policies[name].plan(model.info, {}));
	await model.compile([plan, ...plans]);
	const late = vi.spyOn(gpu.device, "createComputePipeline");
	for (const tokens of [1, 2, 3, 4, 7, 8, 9, 16, 17, 32].filter((tokens) => tokens <= model.info.maxPromptTokens)) {
		const draws = new Map([["text.ids", Int32Array.from({ length: tokens }, (_, i) => i % 3)]]);
		const results = model.generate({ plan, draws, seed: 1, previews: "none" });
		await results.next();
		await results.return();
		expect(late, `${tokens} tokens`).not.toHaveBeenCalled();
	}
	model.destroy();
});
