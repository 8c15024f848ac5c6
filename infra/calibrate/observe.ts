/** One picture by the exact plan, measured scale by scale. */

import { detailByToken, detailOf } from "../../worker/engine/round/detail.ts";
import type { LoadedModel, RgbImage } from "../../worker/engine/types.ts";
import type { ScaleObservation } from "../../worker/policies/measurements/measurement.ts";
import { conditional } from "../../worker/policies/policy.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import { changeByToken, holding, unsettled } from "./measures.ts";
import { TapReader } from "./taps.ts";

/** Cells a side at which semantics and structure are looked at: what is where, and its shape. */
const COARSE = 8;
export const MIDDLE = 32;
/** Change of the picture that kept tokens must make. */
const CHANGE = 0.94;

export interface Ask {
	prompt: string;
	seed: number;
	/** Ranks take long. */
	ranks: boolean;
	judge?: (pictures: readonly RgbImage[]) => Promise<boolean[]>;
	signal?: AbortSignal;
}

/**
 * What each scale of the picture shows, in order. `plan`: the exact one. Throws the signal's reason between scales, and
 * where the model does not give a tensor that is measured by.
 */
export async function observe(
	model: LoadedModel,
	plan: StagePlan,
	{ prompt, seed, ranks, judge, signal }: Ask,
): Promise<ScaleObservation[]> {
	const { grids } = model.info.schedules[plan.schedule];
	const seen = new TapReader(model, grids, ranks);
	const previews: RgbImage[] = [];
	for await (const result of model.generate({ plan, prompt, seed, previews: "all", signal, tap: seen })) {
		if (result.kind === "scale" && result.preview) previews.push(result.preview);
	}
	const tensors = seen.read();
	const ended: RgbImage[] = [];
	for (const { latent } of tensors) ended.push(await model.decode(latent, grids[grids.length - 1]));
	const unguided = await model.branches({
		plans: [plan, ...grids.map((_, scale) => withoutGuidance(plan, scale))],
		prompt,
		seed,
		signal,
	});
	const verdicts = judge ? await judge(ended) : null;
	const finished = ended[ended.length - 1];
	return grids.map((grid, scale) => {
		const change = scale > 0 && changeByToken(ended[scale - 1], ended[scale], grid);
		const { latent, ...measured } = tensors[scale];
		return {
			...measured,
			coarse: unsettled(ended[scale], finished, COARSE),
			middle: unsettled(ended[scale], finished, MIDDLE),
			right: verdicts ? verdicts[scale] : null,
			unguided: unsettled(unguided[scale + 1].image, finished, MIDDLE),
			looks: change
				? previews.slice(0, scale).map((preview) => holding(change, CHANGE, detailByToken(detailOf(preview), grid)))
				: [],
		};
	});
}

const withoutGuidance = (plan: StagePlan, from: number): StagePlan => ({
	...plan,
	steps: plan.steps.map((step, scale) => (step.kind === "run" && scale >= from ? conditional(step) : step)),
});
