/**
 * What pictures cost on paper, from a model's shape and a plan alone: operations (a multiply-add is two), keys,
 * weights.
 */

import type { FamilyConfig } from "../../../model-shards/format/manifest.ts";
import type { Precision } from "../../../model-shards/format/precision.ts";
import { weigh } from "../../../model-shards/import/inspect.ts";
import { modelTensors } from "../../../model-shards/import/model.ts";
import { plannedTensors } from "../../../model-shards/import/tensors.ts";
import type { VaeConfig } from "../../families/infinity/config.ts";
import type { Schedule } from "../../protocol/model-info.ts";
import type { StagePlan } from "../../protocol/plan.ts";
import { kindOf } from "../../protocol/reductions/index.ts";
import { COND, rowsOf, storedKeys, tokensAt, UNCOND } from "../round/kv-plan.ts";

export interface ScaleCost {
	/** Of a row: as many as the grid has, or as the text before it; 0 where it is skipped. */
	tokens: number;
	/** Guidance rows. */
	rows: number;
	/** Tokens over all rows that a block runs on, summed over the blocks: fewer in reduced spans. */
	blockTokens: number;
	/** Of the transformer: input, blocks, head, and the residual that HART adds to the last scale. */
	flops: number;
}

/** What a family's transformer multiplies. */
interface Costs {
	/** Channels of the latent that a token embeds, and floats of its logits. */
	input: number;
	logits: number;
	/** Tokens of the first scale where the text is one, before its only code. */
	start?: number;
	/** Multiply-adds of one token in one block, attention left out. */
	block: number;
	/** Keys of the text that every block's cross attention sees: all of them, or none. */
	text: 0 | 1;
	/** Of one picture before its first scale, by guidance row: a constant, and for every token of the text. */
	begin: number;
	perText: number;
	/** Of one token, by guidance row, after the last scale. */
	residual?: number;
}

function costsOf({ family, config }: FamilyConfig): Costs {
	const { width: c, ffn, depth } = config;
	const feedForward = 2 * c * ffn;
	switch (family) {
		case "infinity": {
			const bits = config.bits * (config.patchify ?? 1) ** 2;
			const t = config.textChannels;
			return {
				input: bits,
				logits: 2 * bits,
				block: 6 * c * c + feedForward,
				text: 1,
				begin: 9 * c * c,
				perText: 3 * t * c + c * c + depth * 2 * c * c,
			};
		}
		case "var":
			return {
				input: config.codebook.channels,
				logits: config.codebook.vocabulary,
				block: 4 * c * c + feedForward,
				text: 0,
				begin: 2 * c * c + (config.adaln === "block" ? depth : 1) * 6 * c * c,
				perText: 0,
			};
		case "hart": {
			const {
				codebook: { channels, vocabulary },
				residual: { width: w, depth: blocks, steps },
				textChannels: t,
				textMaxTokens: start,
			} = config;
			const residual = c * w + steps * (channels * w + blocks * 5 * w * w + 2 * w * w + 2 * channels * w);
			return {
				input: channels,
				logits: vocabulary,
				start,
				block: 4 * c * c + 3 * c * ffn,
				text: 0,
				begin: 2 * c * c + start * t * c,
				perText: 0,
				residual,
			};
		}
		case "star": {
			const t = config.textChannels;
			return {
				input: config.codebook.channels,
				logits: config.codebook.vocabulary,
				block: 6 * c * c + feedForward,
				text: 1,
				begin: t * c,
				perText: depth * 2 * t * c,
			};
		}
	}
}

/** Tokens and operations of every scale of a plan. `textTokens`: of the prompt. */
export function scaleCosts(model: FamilyConfig, { grids }: Schedule, plan: StagePlan, textTokens: number): ScaleCost[] {
	const { width, depth } = model.config;
	const { input, logits, start, block: perToken, text, residual = 0 } = costsOf(model);
	const seen = Array.from({ length: depth }, () => text * textTokens);
	return plan.steps.map((step, scale) => {
		if (step.kind === "skip") return { tokens: 0, rows: 0, blockTokens: 0, flops: 0 };
		const codes = grids[scale][0] * grids[scale][1];
		const tokens = scale === 0 ? (start ?? codes) : codes;
		const rows = rowsOf(step).length;
		const left = step.reduce.find(({ rest }) => rest === "skip")?.count ?? codes;
		// The input is embedded once for all rows; the first scale's is the start token. Tokens left out have no logits.
		let flops = 2 * (scale > 0 ? tokens * input * width : 0) + 2 * rows * left * width * logits;
		let blockTokens = 0;
		if (scale === grids.length - 1) flops += 2 * rows * codes * residual;
		for (let block = 0; block < depth; block++) {
			const count = tokensAt(step, block, tokens);
			seen[block] += count;
			blockTokens += rows * count;
			const blank = step.textGuidance === undefined ? 0 : text * textTokens;
			flops += rows * (2 * count * perToken + 4 * count * width * (seen[block] + blank));
		}
		for (const reduction of step.reduce) flops += rows * kindOf(reduction).flops(reduction, tokens, width);
		return { tokens, rows, blockTokens, flops };
	});
}

/** Of the transformer at every scale of a plan; 0 where it is skipped. */
export const transformerFlops = (
	model: FamilyConfig,
	schedule: Schedule,
	plan: StagePlan,
	textTokens: number,
): number[] => scaleCosts(model, schedule, plan, textTokens).map(({ flops }) => flops);

/**
 * Of the conditioning, once a picture: projections of text or class, cross-attention keys of every block. The text
 * encoder is not in it.
 */
export function conditioningFlops(model: FamilyConfig, textTokens: number): number {
	const { begin, perText } = costsOf(model);
	return 2 * 2 * (begin + perText * textTokens);
}

/** Bytes of keys and values that a picture holds at most, those of its text too. `bytes`: of a number, 4 or 2. */
export function keyBytes(
	model: FamilyConfig,
	{ grids }: Schedule,
	plan: StagePlan,
	textTokens: number,
	bytes = 4,
): number {
	const { width, depth } = model.config;
	const { text: attended, start } = costsOf(model);
	const tokens = grids.map(([height, width], scale) => (scale === 0 ? (start ?? height * width) : height * width));
	const text = attended * textTokens;
	const keys = [COND, UNCOND].flatMap((row) => storedKeys(plan, tokens, depth, row).map((stored) => stored + text));
	return keys.reduce((sum, count) => sum + count, 0) * 2 * width * bytes;
}

/** Bytes of an import in a precision: in files, and on a device. */
export function weightBytes(model: FamilyConfig, precision: Precision): { stored: number; resident: number } {
	const { stored, resident } = weigh(plannedTensors(modelTensors(model), precision), precision === "f16", Infinity);
	return { stored, resident };
}

/** Of the picture decoder on a grid of height x width tokens. */
export function decoderFlops({ family, config }: FamilyConfig, height: number, width: number): number {
	switch (family) {
		case "infinity":
			return convDecoderFlops(config.vae, config.bits, height * width * (config.patchify ?? 1) ** 2, false);
		case "var":
		case "star":
		case "hart":
			return convDecoderFlops(config.vae, config.codebook.channels, height * width, true);
	}
}

/**
 * `cells`: of the latent. `attentive`: a convolution before everything else, attention in the middle and at the
 * coarsest level.
 */
function convDecoderFlops(
	{ baseChannels, multipliers, residualBlocks }: VaeConfig,
	latent: number,
	cells: number,
	attentive: boolean,
): number {
	const conv = (pixels: number, input: number, out: number, taps = 9) => 2 * pixels * input * out * taps;
	const residual = (pixels: number, input: number, out: number) =>
		conv(pixels, input, out) + conv(pixels, out, out) + (input === out ? 0 : conv(pixels, input, out, 1));
	const attention = (pixels: number, width: number) =>
		attentive ? conv(pixels, width, 4 * width, 1) + 4 * pixels * pixels * width : 0;
	const last = multipliers.length - 1;
	let pixels = cells;
	let channels = baseChannels * multipliers[last];
	let flops =
		(attentive ? conv(pixels, latent, latent) : 0) +
		conv(pixels, latent, channels) +
		2 * residual(pixels, channels, channels) +
		attention(pixels, channels);
	for (let level = last; level >= 0; level--) {
		const out = baseChannels * multipliers[level];
		for (let block = 0; block <= residualBlocks; block++) {
			flops += residual(pixels, channels, out) + (level === last ? attention(pixels, out) : 0);
			channels = out;
		}
		if (level === 0) break;
		pixels *= 4;
		flops += conv(pixels, channels, channels);
	}
	return flops + conv(pixels, channels, 3);
}
