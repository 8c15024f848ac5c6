/** Times and memory of policies, whole pictures without branching or previews. */
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { openModel } from "../../worker/engine/open.ts";
import type { LoadedModel } from "../../worker/engine/types.ts";
import type { ModelFolder } from "../../worker/families/folder.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { type Prompt, seedOf } from "./prompts.ts";
import type { Evaluation } from "./quality.ts";

/**
 * Every policy in turn, each picture right after an exact one of the same prompt: as many rounds as there are prompts.
 */
export async function evaluateTimes(
	{ model, records, plans, signal, progress }: Evaluation,
	prompts: readonly Prompt[],
): Promise<void> {
	const [[, exact], ...others] = plans;
	let warm = false;
	for (const [round, prompt] of prompts.entries()) {
		for (const [policy, plan] of others) {
			signal?.throwIfAborted();
			const missing = !records.find("timing", policy, round);
			if (missing) {
				if (!warm) for (const plan of plans.values()) await timed(model, plan, prompt);
				warm = true;
				records.append({
					kind: "timing",
					policy,
					round,
					exact: await timed(model, exact, prompt),
					own: await timed(model, plan, prompt),
					decode: await decodeTime(model, exact, prompt),
				});
			}
			progress?.(2, missing ? 2 : 0);
		}
	}
}

/** Milliseconds until the picture, or until the codes of scale `until`, are on the host. */
async function timed(model: LoadedModel, plan: StagePlan, prompt: Prompt, until?: number): Promise<number> {
	const begun = performance.now();
	for await (const _ of model.generate({
		plan,
		prompt: prompt.prompt,
		seed: seedOf(prompt, 0),
		previews: "none",
		until,
	}));
	return performance.now() - begun;
}

/**
 * What the decoder adds to the first scale: the host cannot see where in a round the transformer ends, as not every
 * driver hands over its results before the picture is done.
 */
async function decodeTime(model: LoadedModel, exact: StagePlan, prompt: Prompt): Promise<number> {
	const first: StagePlan = {
		...exact,
		steps: exact.steps.map((step, scale) => (scale === 0 ? step : { kind: "skip" })),
	};
	const decoded = await timed(model, first, prompt);
	return Math.max(0, decoded - (await timed(model, exact, prompt, 0)));
}

/** Each policy on a model of its own, since activations stay as large as they were needed once. */
export async function evaluateMemory(
	{ records, plans, signal }: Evaluation,
	gpu: Gpu,
	folder: ModelFolder,
	prompt: Prompt,
): Promise<void> {
	for (const [policy, plan] of plans) {
		signal?.throwIfAborted();
		if (records.find("memory", policy)) continue;
		const others = gpu.bytes;
		const model = await openModel(gpu, folder);
		let most = 0;
		for await (const _ of model.generate({ plan, prompt: prompt.prompt, seed: 0, previews: "none" }))
			most = Math.max(most, gpu.bytes);
		model.destroy();
		records.append({ kind: "memory", policy, bytes: most - others });
	}
}
