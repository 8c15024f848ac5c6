import { expect, it } from "vitest";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { findModel, openModelFolder } from "../../model-shards/open.ts";
import { openModel } from "../../worker/engine/open.ts";
import { soak } from "./soak.ts";

it("a hundred pictures of tiny leave device memory as it was and host memory nearly so", async () => {
	const gpu = await openGpu();
	const model = await openModel(gpu, await openModelFolder(findModel("tiny")));
	const { gpuBytes, residentSlope } = await soak(gpu, model, 100);
	expect(gpuBytes.end).toBe(gpuBytes.warm);
	expect(residentSlope).toBeLessThan(200_000);
	model.destroy();
	gpu.destroy();
}, 300_000);
