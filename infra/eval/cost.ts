/** What a plan costs on a model, computed without running it. */
import type { Manifest } from "../../model-shards/format/manifest.ts";
import { decoderFlops, keyBytes, scaleCosts } from "../../worker/engine/paper/flops.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import type { Cost } from "./records.ts";

/** `textTokens`: of the prompt. */
export function costOf(manifest: Manifest, plan: StagePlan, textTokens: number): Cost {
	const schedule = manifest.schedules[plan.schedule];
	const [height, width] = schedule.grids[schedule.grids.length - 1];
	const scales = scaleCosts(manifest, schedule, plan, textTokens);
	return {
		transformerFlops: sum(scales.map(({ flops }) => flops)),
		decoderFlops: decoderFlops(manifest, height, width),
		tokenRows: sum(scales.map(({ blockTokens }) => blockTokens)) / manifest.config.depth,
		keyValueBytes: keyBytes(manifest, schedule, plan, 0),
	};
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
