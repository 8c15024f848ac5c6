import { createHash } from "node:crypto";
import type { LoadedModel, RgbImage } from "../../worker/engine/types.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";

export interface Picture {
	image: RgbImage;
	/** SHA-256 of the codes of all scales, shortened. */
	codes: string;
	/** As it was settled. */
	plan: StagePlan;
}

/** One picture a plan, in order; what plans share with the first is computed once. */
export async function makeBranches(
	model: LoadedModel,
	plans: readonly StagePlan[],
	subject: { prompt: string; seed: number; signal?: AbortSignal },
): Promise<Picture[]> {
	return (await model.branches({ plans, ...subject })).map(({ plan, image, codes }) => {
		const hash = createHash("sha256");
		for (const scale of codes) hash.update(scale);
		return { plan, image, codes: hash.digest("hex").slice(0, 16) };
	});
}
