/** What the engine allocates for a published model, counted on a device that runs nothing, beside the forecast. */
import type { Precision } from "../../model-shards/format/precision.ts";
import { openModel } from "../../worker/engine/open.ts";
import { type MemoryNeed, memoryNeed } from "../../worker/engine/paper/memory.ts";
import { type Model, modelInfo } from "../../worker/families/model.ts";
import { NO_DIGEST } from "../../worker/families/planned.ts";
import type { Dtype } from "../../worker/families/shared/weights.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { type Counted, openNullGpu, zeroFolder } from "./null-backend.ts";
import { randomFloats } from "./random-model.ts";

export interface MemorySubject {
	/** As an import in this precision would have it. */
	model: Model;
	precision: Precision;
	plan: StagePlan;
	textTokens: number;
	/** What a binding is said to hold; left out: that of most GPUs. */
	bindingBytes?: number;
}

export interface CountedMemory {
	forecast: MemoryNeed;
	/** By kind, when all together was most: while a picture is made, every preview of it too. */
	counted: Counted;
	total: number;
}

/**
 * Opens the model with zeros for weights and makes one picture. Throws OutOfMemoryError where a binding is too small.
 */
export async function countMemory(subject: MemorySubject): Promise<CountedMemory> {
	const { model, precision, plan, textTokens, bindingBytes } = subject;
	const dtype: Dtype = precision === "f16" ? "f16" : "f32";
	const cacheDtype: Dtype = precision === "f32" ? "f32" : "f16";
	const gpu = await openNullGpu(bindingBytes);
	try {
		const info = modelInfo(model, NO_DIGEST);
		const folder = zeroFolder({
			...model,
			dir: "",
			digest: NO_DIGEST,
			info,
			tokenizer: null,
			tensors: undefined as never,
		});
		const loaded = await openModel(gpu, folder, { dtype, cacheDtype });
		const draws = new Map([["text.feats", randomFloats(textTokens * (model.facts.text?.channels ?? 0), 1)]]);
		const shown = info.classes === undefined ? { draws } : { label: 0 };
		for await (const _ of loaded.generate({ plan, ...shown, seed: 1, previews: "all" }));
		const counted = gpu.most;
		const setting = { dtype, cacheDtype, plan, textTokens, bindingBytes };
		return {
			forecast: memoryNeed(model, setting),
			counted,
			total: Object.values(counted).reduce((sum, bytes) => sum + bytes, 0),
		};
	} finally {
		gpu.destroy();
	}
}
