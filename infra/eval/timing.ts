/** Times and memory of policies, whole pictures without branching or previews. */
import type { Gpu } from "../../kernels/gpu.ts";
import type { ModelFolder } from "../../model-shards/folder.ts";
import { openModel } from "../../worker/engine/open-model.ts";
import type { LoadedModel } from "../../worker/engine/types.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { type Prompt, seedOf } from "./prompts.ts";
import type { Evaluation } from "./quality.ts";
import type { Times } from "./records.ts";

/** Every policy in turn, each picture right after an exact one of the same prompt: as many rounds as there are prompts. */
export async function evaluateTimes({ model, records, plans, signal, progress }: Evaluation, prompts: readonly Prompt[]): Promise<void> {
	const [[, exact], ...others] = plans;
	let warm = false;
	for (const [round, prompt] of prompts.entries()) {
		for (const [policy, plan] of others) {
			signal?.throwIfAborted();
			const missing = !records.find("timing", policy, round);
			if (missing) {
				if (!warm) for (const plan of plans.values()) await timed(model, plan, prompt);
				warm = true;
				records.append({ kind: "timing", policy, round, exact: await timed(model, exact, prompt), own: await timed(model, plan, prompt) });
			}
			progress?.(2, missing ? 2 : 0);
		}
	}
}

async function timed(model: LoadedModel, plan: StagePlan, prompt: Prompt): Promise<Times> {
	const times: Times = { transformer: 0, decode: 0, total: 0 };
	for await (const result of model.generate({ plan, prompt: prompt.prompt, seed: seedOf(prompt, 0), previews: "none" })) {
		if (result.kind === "scale") times.transformer += result.milliseconds.transformer;
		else if (result.kind === "final") Object.assign(times, result.milliseconds);
	}
	return times;
}

/** Each policy on a model of its own, since activations stay as large as they were needed once. */
export async function evaluateMemory({ records, plans, signal }: Evaluation, gpu: Gpu, folder: ModelFolder, prompt: Prompt): Promise<void> {
	for (const [policy, plan] of plans) {
		signal?.throwIfAborted();
		if (records.find("memory", policy)) continue;
		const others = gpu.bytes;
		const model = await openModel(gpu, folder);
		let most = 0;
		for await (const _ of model.generate({ plan, prompt: prompt.prompt, seed: 0, previews: "none" })) most = Math.max(most, gpu.bytes);
		model.destroy();
		records.append({ kind: "memory", policy, bytes: most - others });
	}
}
