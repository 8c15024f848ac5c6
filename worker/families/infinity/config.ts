/**
 * Shape of an Infinity-family model: what the graph needs beside its tensors. Names follow the field, not the official
 * files.
 */
import { z } from "zod";
import { ROPE_SPREADS } from "../../../kernels/attention/rope.ts";
import type { Facts } from "../family.ts";
import { bsqShape } from "../shared/bsq.ts";
import { padded } from "../shared/padded.ts";
import type { Schedules } from "../shared/schedules.ts";
import { Count, Layers } from "../shared/schema.ts";
import { VaeConfig, wrappedDecoder } from "../shared/vae.ts";
import { TextEncoderConfig } from "../text/config.ts";

/** Rows of the level embedding in every checkpoint of the family. */
export const MAX_LEVELS = 15;

export const InfinityConfig = z.strictObject({
	depth: Layers,
	width: Count,
	heads: Count,
	ffn: Count,
	/** The feed-forward: GELU, or SwiGLU without biases. Left out: GELU. */
	feedForward: z.enum(["gelu", "swiglu"]).optional(),
	/** Blocks per chunk: `block_chunks.{chunk}.module.{j}` in the checkpoint, */
	chunkBlocks: Count,
	/** or `blocks.{j}`, all of them in one. Left out: chunks. */
	blockNames: z.enum(["chunks", "flat"]).optional(),
	/** AdaLN: one map of the text for all blocks with an offset by block, or a map for every block. Left out: shared. */
	adaln: z.enum(["shared", "block"]).optional(),
	/** LayerNorm, or RMS norm. Left out: LayerNorm. */
	norm: z.enum(["layer", "rms"]).optional(),
	/**
	 * Queries and keys of self attention are L2-normalised, with a learned scale by head; else the softmax scale is 1 /
	 * sqrt(head size) / attentionTau. Left out: true, and 1.
	 */
	normalised: z.boolean().optional(),
	attentionTau: z.number().gt(0).optional(),
	/** What cross attention adds is multiplied by a learned vector. Left out: false. */
	crossGate: z.boolean().optional(),
	/** The level is added before the first block, or before every chunk. Left out: first. */
	levels: z.enum(["first", "chunks"]).optional(),
	/** The norm before the head is modulated by the text, or has weights of its own. Left out: modulated. */
	headNorm: z.enum(["modulated", "own"]).optional(),
	/** Matrices of the head, GELU between two. Left out: 1. */
	headDepth: z.literal([1, 2]).optional(),
	/** How rotary positions of a grid become those of `ropeReach`. Left out: nearest. */
	ropeSpread: z.enum(ROPE_SPREADS).optional(),
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
	const { width, depth, chunkBlocks, blockNames, poolHeads } = config;
	if ((width / poolHeads) % 4 !== 0)
		problems.push(
			`width ${width} over the ${poolHeads} heads that pool the text (poolHeads) does not give a head size that is ` +
				"a multiple of 4",
		);
	if (depth % chunkBlocks !== 0) problems.push(`depth ${depth} is not a multiple of chunkBlocks ${chunkBlocks}`);
	if (blockNames === "flat" && chunkBlocks !== depth)
		problems.push(`${depth} blocks that are not in chunks are one chunk, not several of ${chunkBlocks}`);
	for (const [name, { grids }] of Object.entries(schedules)) {
		if (grids[0].join() !== "1,1") problems.push(`schedule ${name} begins with ${grids[0].join("x")}, not with 1x1`);
		if (grids.length > MAX_LEVELS)
			problems.push(`schedule ${name} has ${grids.length} scales; the family has embeddings for ${MAX_LEVELS}`);
		if (!Object.hasOwn(config.ropeReach, name)) problems.push(`schedule ${name} has no ropeReach`);
	}
	return problems;
}

export function infinityFacts(config: InfinityConfig): Facts {
	const { depth, width, heads, ffn, chunkBlocks, textChannels, textMaxTokens, textEncoder, poolHeads } = config;
	return {
		shape: { depth, width, heads, ffn: padded(ffn), gated: config.feedForward === "swiglu" },
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
