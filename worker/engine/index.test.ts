/** The library's public face, as its user has it. */
import { expect, test } from "vitest";
import * as engine from "./browser.ts";
import { generate, openGpu, openModel, openModelAt, policies } from "./node.ts";

test("opens a model and makes a picture", async () => {
	const gpu = await openGpu();
	const model = await openModel(gpu, await openModelAt("tiny"));
	const plan = policies.exact.plan(model.info, {});
	const kinds: string[] = [];
	let size: number[] = [];
	for await (const result of generate({ model, plan, prompt: "a photo of a cat", seed: 1, previews: "none" })) {
		kinds.push(result.kind);
		if (result.kind === "final") size = [result.image.height, result.image.width, result.image.data.length];
	}
	expect(kinds).toEqual(["scale", "scale", "scale", "scale", "final"]);
	expect(size).toEqual([64, 64, 64 * 64 * 3]);
	model.destroy();
	gpu.destroy();
});

test("is a dozen names", () => {
	expect(Object.keys(engine).sort()).toEqual([
		"DeviceError",
		"ENGINE_VERSION",
		"KernelError",
		"ModelFormatError",
		"OutOfMemoryError",
		"PlanError",
		"PromptError",
		"generate",
		"openGpu",
		"openModel",
		"openModelAt",
		"policies",
	]);
});
