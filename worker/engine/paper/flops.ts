/**
 * What pictures cost on paper, from a model's shape and a plan alone: operations (a multiply-add is two), keys,
 * weights.
 */

import type { Precision } from "../../../model-shards/format/precision.ts";
import { plannedTensors } from "../../../model-shards/format/stored.ts";
import type { Costs, Facts } from "../../families/family.ts";
import type { ModelShape } from "../../families/model.ts";
import { decoderOperations } from "../../families/shared/vae.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import { kindOf } from "../../protocol/reductions/index.ts";
import { keyRow } from "../round/key-value-store.ts";
import { COND, rowsOf, storedKeys, tokensAt, UNCOND } from "../round/kv-plan.ts";
import { weigh } from "./weigh.ts";

export interface ScaleCost {
	/** Of a row: as many as the grid has, or as the text before it; 0 where it is skipped. */
	tokens: number;
	/** Guidance rows. */
	rows: number;
	/** Tokens over all rows that a block runs on, summed over the blocks: fewer in reduced spans. */
	blockTokens: number;
	/** Of the transformer: input, blocks, head, and the residual that some families add to the last scale. */
	flops: number;
}

/** What is known of a model without its schedules. */
type Costly = { facts: Facts; costs: Costs };

/** Tokens of a scale's rows. */
const tokensOf = ({ startTokens }: Facts, { grids }: Schedule): number[] =>
	grids.map(([height, width], scale) => (scale === 0 ? startTokens : height * width));

/** Tokens of the text that every block's cross attention sees. */
const attended = ({ crossAttention }: Costs, textTokens: number): number => (crossAttention ? textTokens : 0);

/** Tokens and operations of every scale of a plan. `textTokens`: of the prompt. */
export function scaleCosts(
	{ facts, costs }: Costly,
	schedule: Schedule,
	plan: StagePlan,
	textTokens: number,
): ScaleCost[] {
	const { width, depth } = facts.shape;
	const { features, logits } = facts.codes;
	const { grids } = schedule;
	const text = attended(costs, textTokens);
	const tokensBy = tokensOf(facts, schedule);
	const seen = Array.from({ length: depth }, () => text);
	return plan.steps.map((step, scale) => {
		if (step.kind === "skip") return { tokens: 0, rows: 0, blockTokens: 0, flops: 0 };
		const codes = grids[scale][0] * grids[scale][1];
		const tokens = tokensBy[scale];
		const rows = rowsOf(step).length;
		const left = step.reduce.find(({ rest }) => rest === "skip")?.count ?? codes;
		// The input is embedded once for all rows; the first scale's is the start token. Tokens left out have no logits.
		let flops = 2 * (scale > 0 ? tokens * features * width : 0) + 2 * rows * left * width * logits;
		let blockTokens = 0;
		if (scale === grids.length - 1) flops += 2 * rows * codes * costs.residual;
		for (let block = 0; block < depth; block++) {
			const count = tokensAt(step, block, tokens);
			seen[block] += count;
			blockTokens += rows * count;
			const blank = step.textGuidance === undefined ? 0 : text;
			flops += rows * (2 * count * costs.block + 4 * count * width * (seen[block] + blank));
		}
		for (const reduction of step.reduce) flops += rows * kindOf(reduction).flops(reduction, tokens, width);
		return { tokens, rows, blockTokens, flops };
	});
}

/** Of the transformer at every scale of a plan; 0 where it is skipped. */
export const transformerFlops = (model: Costly, schedule: Schedule, plan: StagePlan, textTokens: number): number[] =>
	scaleCosts(model, schedule, plan, textTokens).map(({ flops }) => flops);

/**
 * Of the conditioning, once a picture: projections of text or class, cross-attention keys of every block. The text
 * encoder is not in it.
 */
export const conditioningFlops = ({ costs: { begin, perText } }: Pick<Costly, "costs">, textTokens: number): number =>
	2 * 2 * (begin + perText * textTokens);

/** Bytes of keys and values that a picture holds at most, those of its text too. Throws as `keyRow`. */
export function keyBytes(
	{ facts, costs }: Costly,
	schedule: Schedule,
	plan: StagePlan,
	textTokens: number,
	precision: Precision = "f32",
): number {
	const { width, depth } = facts.shape;
	const text = attended(costs, textTokens);
	const tokens = tokensOf(facts, schedule);
	const keys = [COND, UNCOND].flatMap((row) => storedKeys(plan, tokens, depth, row).map((stored) => stored + text));
	return keys.reduce((sum, count) => sum + count, 0) * keyRow(width, precision).bytes;
}

/** Bytes of an import in a precision: in files, and on a device. */
export function weightBytes(
	{ wanted }: Pick<ModelShape, "wanted">,
	precision: Precision,
): { stored: number; resident: number } {
	const { stored, resident } = weigh(plannedTensors(wanted, precision), wanted, precision === "f16", Infinity);
	return { stored, resident };
}

/** Of the picture decoder on a grid of height x width tokens. */
export function decoderFlops({ facts: { codes, decoder } }: Pick<Costly, "facts">, height: number, width: number) {
	return decoderOperations(decoder, codes.numbers, height * width * codes.patch ** 2);
}
