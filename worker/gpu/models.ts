import { Gpu } from "../../kernels/gpu.ts";
import { findModel, openModelFolder } from "../../model-shards/folder.ts";
import { openModel } from "../engine/open-model.ts";
import { policies } from "../engine/plan/policies.ts";
import type { LoadedModel } from "../engine/types.ts";

/** One open device with the models on it. */
export interface Device {
	gpu: Gpu;
	/** By id. */
	models: ReadonlyMap<string, LoadedModel>;
	close(): void;
}

/** Opens the adapter, loads the models and makes one picture of each plan, so that every pipeline is compiled before the first job. */
export async function openDevice(names: readonly string[], log: (line: string) => void): Promise<Device> {
	const gpu = await Gpu.open();
	log(`adapter: ${gpu.facts.name}`);
	const models = new Map<string, LoadedModel>();
	for (const name of names) {
		const begun = performance.now();
		const model = await openModel(gpu, await openModelFolder(findModel(name)));
		await warm(model);
		models.set(model.info.id, model);
		log(`model ${model.info.id} loaded and warm in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
	}
	return {
		gpu,
		models,
		close() {
			for (const model of models.values()) model.destroy();
			gpu.destroy();
		},
	};
}

/** Small pictures that run every kernel of every plan: up to the first reduced scale, else a few scales with their previews. */
async function warm(model: LoadedModel): Promise<void> {
	const warmed = new Set<number>();
	for (const policy of Object.values(policies)) {
		if (policy.name !== "exact" && !(model.info.defaultSchedule in model.info.calibration)) continue;
		const plan = policy.plan(model.info, {});
		const reduced = plan.steps.findIndex((step) => step.kind === "run" && step.reduce.length > 0);
		const until = reduced === -1 ? Math.min(2, plan.steps.length - 1) : reduced;
		if (warmed.has(until)) continue;
		warmed.add(until);
		for await (const _ of model.generate({ plan, prompt: "a photo", seed: 0, previews: reduced === -1 ? "all" : "none", until }));
	}
}
