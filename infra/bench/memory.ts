/** What the engine allocates for a published model, counted on a device that runs nothing, beside the forecast. */
import type { Precision } from "../../model-shards/format/precision.ts";
import { openModel } from "../../worker/engine/open.ts";
import { type Within, within } from "../../worker/engine/paper/budget.ts";
import { type MemoryNeed, memoryNeed } from "../../worker/engine/paper/memory.ts";
import { type Model, modelInfo } from "../../worker/families/model.ts";
import { NO_DIGEST } from "../../worker/families/planned.ts";
import { longestSchedule } from "../../worker/families/shared/schedules.ts";
import type { Dtype } from "../../worker/families/shared/weights.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { type Counted, openNullGpu, total, zeroFolder } from "./null-backend.ts";
import { randomFloats } from "./random-model.ts";

export interface MemorySubject {
	/** As an import in this precision would have it. */
	model: Model;
	precision: Precision;
	plan: StagePlan;
	textTokens: number;
	/** What a binding is said to hold; left out: that of most GPUs. */
	bindingBytes?: number;
	/** What the model is to keep within. */
	memory?: number;
	/** Pictures at once; left out: one. */
	slots?: number;
}

export interface CountedMemory {
	forecast: MemoryNeed;
	/** What the budget settled; undefined without one. */
	within: Within | undefined;
	/** By kind, when all together was most: while pictures are opened and made, every preview of them too. */
	counted: Counted;
	total: number;
	/** The same of other pictures of the same prompt, whose text need not be encoded. */
	again: number;
}

/**
 * Opens the model with zeros for weights and makes a picture in every slot, and then once more, of features or, with a
 * text encoder, of as many words. Throws OutOfMemoryError where a binding is too small.
 */
export async function countMemory(subject: MemorySubject): Promise<CountedMemory> {
	const { model, precision, plan, textTokens, bindingBytes, memory, slots = 1 } = subject;
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
		const loaded = await openModel(gpu, folder, { dtype, cacheDtype, memory, slots });
		const { channels = 0, encoder } = model.facts.text ?? {};
		const draws = new Map<string, Int32Array | Float32Array>(
			encoder
				? [["text.ids", Int32Array.from({ length: textTokens }, (_, i) => i)]]
				: [["text.feats", randomFloats(textTokens * channels, 1)]],
		);
		const shown = info.classes === undefined ? { draws } : { label: 0 };
		const draw = async (seed: number) => {
			for await (const _ of loaded.generate({ plan, ...shown, seed, previews: "all" }));
		};
		const most = async () => {
			gpu.forgetMost();
			await Promise.all(Array.from({ length: slots }, (_, i) => draw(1 + i)));
			return gpu.most;
		};
		const [counted, again] = [await most(), await most()];
		const setting = { dtype, cacheDtype, plan, textTokens, bindingBytes, slots };
		const longest = { dtype, cacheDtype, bindingBytes, slots, schedule: longestSchedule(model.manifest.schedules) };
		const kept = memory === undefined ? undefined : within(model, longest, memory)?.within;
		return {
			forecast: memoryNeed(model, { ...setting, ...kept }),
			within: kept,
			counted,
			total: total(counted),
			again: total(again),
		};
	} finally {
		gpu.destroy();
	}
}
