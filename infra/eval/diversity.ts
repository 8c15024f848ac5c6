/** How different the pictures of one prompt are from seed to seed. */
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { makeBranches, type Picture } from "./branches.ts";
import type { Features } from "./judge.ts";
import { type Prompt, seedOf } from "./prompts.ts";
import type { Evaluation } from "./quality.ts";
import { mean } from "./scores.ts";

/** Pictures of each prompt. */
export const SEEDS = 4;

/** The mean distance of the pairs among `SEEDS` pictures, for every prompt and policy that the records lack. */
export async function evaluateDiversity(
	{ model, judge, records, plans, signal, progress }: Evaluation,
	prompts: readonly Prompt[],
): Promise<void> {
	for (const prompt of prompts) {
		const missing = [...plans.keys()].filter((policy) => !records.find("diversity", policy, prompt.place));
		// The baseline leaves nothing open, so that all others can branch off it, also where its own line is there already.
		const [baseline] = plans.keys();
		const policies = [baseline, ...missing.filter((policy) => policy !== baseline)];
		const made: Picture[][] = [];
		for (let n = 0; n < SEEDS && missing.length > 0; n++) {
			signal?.throwIfAborted();
			made.push(
				await makeBranches(
					model,
					policies.map((policy) => plans.get(policy) as StagePlan),
					{ prompt: prompt.prompt, seed: seedOf(prompt, n) },
				),
			);
		}
		for (const [i, policy] of policies.entries()) {
			if (!missing.includes(policy)) continue;
			const features = await judge.features(made.map((pictures) => pictures[i].image));
			const pairs = features.flatMap((a, j) => features.slice(j + 1).map((b) => distance(a, b)));
			records.append({ kind: "diversity", policy, prompt: prompt.place, distance: Number(mean(pairs).toFixed(5)) });
		}
		progress?.(SEEDS * plans.size, SEEDS * missing.length);
	}
}

/**
 * LPIPS's distance (Zhang et al. 2018, arXiv 1801.03924) without its learned weights: at every place of every layer the
 * squared difference of the features at unit length, mean over places and layers. 0 to 4, for features that are not
 * negative to 2.
 */
export function distance(a: Features, b: Features): number {
	return mean(
		a.map(({ channels, data }, layer) => {
			const other = b[layer].data;
			const places = data.length / channels;
			let sum = 0;
			for (let place = 0; place < places; place++) {
				let [aa, bb, ab] = [0, 0, 0];
				for (let at = place; at < data.length; at += places) {
					aa += data[at] ** 2;
					bb += other[at] ** 2;
					ab += data[at] * other[at];
				}
				// |a / |a| - b / |b||^2; a place without any feature has no direction.
				const [some, others] = [aa > 0 ? 1 : 0, bb > 0 ? 1 : 0];
				sum += some + others - (some && others ? (2 * ab) / Math.sqrt(aa * bb) : 0);
			}
			return sum / places;
		}),
	);
}
