/** What a plan costs on a model, computed without running it. */
import { decoderFlops, keyBytes, scaleCosts } from "../../worker/engine/paper/flops.ts";
import type { Model } from "../../worker/families/model.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import type { Cost } from "./records.ts";

/** `textTokens`: of the prompt. */
export function costOf(model: Model, plan: StagePlan, textTokens: number): Cost {
	const schedule = model.manifest.schedules[plan.schedule];
	const [height, width] = schedule.grids[schedule.grids.length - 1];
	const scales = scaleCosts(model, schedule, plan, textTokens);
	return {
		transformerFlops: sum(scales.map(({ flops }) => flops)),
		decoderFlops: decoderFlops(model, height, width),
		tokenRows: sum(scales.map(({ blockTokens }) => blockTokens)) / model.facts.shape.depth,
		keyValueBytes: keyBytes(model, schedule, plan, 0),
	};
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
