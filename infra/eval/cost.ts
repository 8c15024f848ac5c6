/** What a plan costs on a model, computed without running it. */
import { infinityConfigOf, type Manifest } from "../../model-shards/manifest.ts";
import { decoderFlops, transformerFlops } from "../../worker/engine/flops.ts";
import { COND, rowsOf, storedKeys, tokensAt, UNCOND } from "../../worker/engine/models/kv-plan.ts";
import type { StagePlan } from "../../worker/protocol/plan.ts";
import type { Cost } from "./records.ts";

/** `textTokens`: of the prompt. */
export function costOf(manifest: Manifest, plan: StagePlan, textTokens: number): Cost {
	const config = infinityConfigOf(manifest);
	const schedule = manifest.schedules[plan.schedule];
	const tokens = schedule.grids.map(([height, width]) => height * width);
	const [height, width] = schedule.grids[schedule.grids.length - 1];
	const blocks = Array.from({ length: config.depth }, (_, block) => block);
	const tokenRows = plan.steps.map((step, scale) => (step.kind === "skip" ? 0 : (rowsOf(step).length * sum(blocks.map((block) => tokensAt(step, block, tokens[scale])))) / config.depth));
	const keys = [COND, UNCOND].flatMap((row) => storedKeys(plan, tokens, config.depth, row));
	return {
		transformerFlops: sum(transformerFlops(config, schedule, plan, textTokens)),
		decoderFlops: decoderFlops(config, height, width),
		tokenRows: sum(tokenRows),
		keyValueBytes: sum(keys) * 2 * config.width * 4,
	};
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
