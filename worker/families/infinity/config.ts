/**
 * Shape of an Infinity-family model: what the graph needs beside its tensors. Names follow the field, not the official
 * files.
 */
import { z } from "zod";
import type { Facts } from "../family.ts";
import { bsqShape } from "../shared/bsq.ts";
import type { Schedules } from "../shared/schedules.ts";
import { Count } from "../shared/schema.ts";
import { VaeConfig, wrappedDecoder } from "../shared/vae.ts";
import { TextEncoderConfig } from "../text/config.ts";

/** Rows of the level embedding in every checkpoint of the family. */
export const MAX_LEVELS = 15;

export const InfinityConfig = z.strictObject({
	depth: Count,
	width: Count,
	heads: Count,
	ffn: Count,
	/** Blocks per chunk: `block_chunks.{chunk}.module.{j}` in the checkpoint. */
	chunkBlocks: Count,
	/** Width of the text features, and the most tokens of a prompt. */
	textChannels: Count,
	textMaxTokens: Count,
	/** Heads of the attentive pooling of the text. */
	poolHeads: Count,
	/** Bits per token of the BSQ tokenizer. */
	bits: Count,
	/**
	 * Spatial patchify: tokens of the tokenizer per side of one of the transformer, which then has patchify^2 * bits.
	 * Left out: 1.
	 */
	patchify: z.literal([1, 2]).optional(),
	normEps: z.number().gt(0),
	/**
	 * [height, width] over which rotary positions are spread, by schedule name: the last 1M-schedule grid of that aspect.
	 */
	ropeReach: z.record(z.string(), z.tuple([Count, Count])),
	vae: VaeConfig,
	/** Null: features are given (`draws["text.feats"]`), as in the reference sets. */
	textEncoder: TextEncoderConfig.nullable(),
});
export type InfinityConfig = z.infer<typeof InfinityConfig>;

/** What of the configuration contradicts itself or the schedules. */
export function infinityProblems(config: InfinityConfig, schedules: Schedules): string[] {
	const problems: string[] = [];
	const { width, depth, chunkBlocks } = config;
	if (width % config.poolHeads !== 0)
		problems.push(`width ${width} is not a multiple of poolHeads ${config.poolHeads}`);
	if (depth % chunkBlocks !== 0) problems.push(`depth ${depth} is not a multiple of chunkBlocks ${chunkBlocks}`);
	for (const [name, { grids }] of Object.entries(schedules)) {
		if (grids.length > MAX_LEVELS)
			problems.push(`schedule ${name} has ${grids.length} scales; the family has embeddings for ${MAX_LEVELS}`);
		if (!Object.hasOwn(config.ropeReach, name)) problems.push(`schedule ${name} has no ropeReach`);
	}
	return problems;
}

export function infinityFacts(config: InfinityConfig): Facts {
	const { depth, width, heads, ffn, chunkBlocks, textChannels, textMaxTokens, textEncoder, poolHeads } = config;
	return {
		shape: { depth, width, heads, ffn },
		codes: bsqShape(config.bits, config.patchify),
		decoder: wrappedDecoder(config.vae),
		names: {
			input: "block_in",
			logits: "logits_pre",
			mixed: "logits_post",
			latent: "summed_codes",
			final: "summed_codes_final",
			spanInput: "in",
			map: (scale) => ({ name: `s${scale}.word_embed_in`, channelsFirst: false }),
			span: (block) => `c${Math.floor(block / chunkBlocks)}`,
		},
		startTokens: 1,
		chunkBlocks,
		text: { channels: textChannels, maxTokens: textMaxTokens, encoder: textEncoder, instructions: "", poolHeads },
		guidesByText: true,
	};
}
