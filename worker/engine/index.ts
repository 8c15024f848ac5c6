/**
 * The engine as a library, for any platform with WebGPU. What a platform adds, its device and where it finds models,
 * is beside it: `node.ts`, `deno.ts`, `browser.ts`.
 *
 * ```ts
 * const gpu = await openGpu();                                             // of the platform
 * const folder = await openModelAt("https://host/models/emoji-128");       // likewise
 * const model = await openModel(gpu, folder, { slots: 4 });
 * const plan = policies.exact.plan(model.info, { schedule: "1:1" });
 * for await (const result of generate({ model, plan, prompt: "a red apple", seed: 7, previews: "all" })) {
 *   if (result.kind === "scale") show(result.preview);
 *   if (result.kind === "final") show(result.image);                       // width, height, three bytes a pixel
 * }
 * model.destroy();
 * ```
 */
export { DeviceError, KernelError, OutOfMemoryError } from "../../kernels/gpu/errors.ts";
export { ModelFormatError } from "../../model-shards/format/errors.ts";
export type { ModelFolder } from "../families/folder.ts";
export { PromptError } from "../families/text/tokenizer.ts";
export { PlanError, type PlanRequest, type Policy, policies } from "../policies/index.ts";
export type { ModelInfo } from "../protocol/model-info.ts";
export type { StagePlan } from "../protocol/plan.ts";
export type { Branch } from "./branches.ts";
export { generate } from "./generate.ts";
export { ENGINE_VERSION } from "./numerics.ts";
export { type OpenOptions, openModel } from "./open.ts";
export type {
	BranchOptions,
	Draws,
	FinalResult,
	GenerateOptions,
	GenerateResult,
	LoadedModel,
	RevisionResult,
	RgbImage,
	ScaleResult,
	Tap,
	TappedTensor,
} from "./types.ts";
