import { createHash } from "node:crypto";
import type { Gpu } from "../../kernels/gpu.ts";
import type { ModelFolder } from "../../model-shards/folder.ts";
import { walk } from "./generate.ts";
import { InfinityRun } from "./models/infinity/run.ts";
import { checkPlan } from "./plan/validate.ts";
import { Taps } from "./tap.ts";
import { PromptError, promptTokenizer } from "./tokenizer.ts";
import type { LoadedModel } from "./types.ts";
import { Weights } from "./weights.ts";

/** Raised whenever a kernel or the graph changes what it computes, down to the last bit. */
const ENGINE_VERSION = 1;

/** Puts a model folder on the device. Throws ModelFormatError for a damaged folder, DeviceError when it does not fit. */
export async function openModel(gpu: Gpu, folder: ModelFolder, progress?: (done: number, total: number) => void): Promise<LoadedModel> {
	const { manifest, info, digest } = folder;
	const weights = await Weights.load(gpu, folder, progress);
	const tokenizer = folder.tokenizer === null ? null : promptTokenizer(folder.tokenizer, info.maxPromptTokens);
	return {
		info,
		numerics: createHash("sha256").update(JSON.stringify([ENGINE_VERSION, digest, gpu.facts.name, gpu.facts.driver])).digest("hex").slice(0, 32),
		generate({ plan, prompt, seed, draws = new Map(), tap, ...rest }) {
			checkPlan(plan, info);
			const schedule = manifest.schedules[plan.schedule];
			const ids = draws.get("text.ids") ?? (draws.has("text.feats") ? [] : tokenizer?.encode(prompt));
			if (!ids) throw new PromptError("This model has no tokenizer: give text.ids or text.feats in `draws`.");
			const taps = new Taps(gpu, tap);
			taps.give("text.ids", [ids.length], () => Int32Array.from(ids));
			const run = new InfinityRun(gpu, manifest.config, weights, schedule, plan, seed, draws, taps);
			return walk(run, { plan, grids: schedule.grids, ids: [...ids], ...rest });
		},
		destroy: () => weights.destroy(),
	};
}
