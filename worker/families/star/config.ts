/** Shape of a STAR model (arXiv 2406.10797): what the graph needs beside its tensors. */
import { z } from "zod";
import type { Facts } from "../family.ts";
import { CodebookConfig, codebookShape, codebookTaps } from "../shared/codebook.ts";
import { padded } from "../shared/padded.ts";
import type { Schedules } from "../shared/schedules.ts";
import { Count, Layers } from "../shared/schema.ts";
import { attentiveDecoder, VaeConfig } from "../shared/vae.ts";
import { ClipTextConfig } from "../text/config.ts";

export const StarConfig = z.strictObject({
	depth: Layers,
	width: Count,
	heads: Count,
	ffn: Count,
	/** Width of the text features, and the most tokens of a prompt. */
	textChannels: Count,
	textMaxTokens: Count,
	normEps: z.number().gt(0),
	/** Rows of the level embedding: the most scales of a schedule. */
	scales: Count,
	/** Tokens of the first one. Left out: 1. */
	startTokens: Count.optional(),
	/** Rotary positions of every scale are spread over 0 .. ropeReach, or, null, are those of its grid. */
	ropeReach: z.number().gt(0).nullable(),
	/** Base of their frequencies. */
	ropeTheta: z.number().gt(0),
	/**
	 * Queries and keys, those of the text too, are L2-normalised with a learned scale by head; else the softmax scale is
	 * 0.25 / sqrt(head size). Left out: true.
	 */
	normalised: z.boolean().optional(),
	/** Blocks read the text by cross attention. Left out: true. */
	crossAttention: z.boolean().optional(),
	/** The last states are normed before the head. Left out: true. */
	headNorm: z.boolean().optional(),
	codebook: CodebookConfig,
	vae: VaeConfig,
	/** Null: features, their mask and the pooled text are given in `draws`, as in the reference sets. */
	textEncoder: ClipTextConfig.nullable(),
});
export type StarConfig = z.infer<typeof StarConfig>;

/** What of the configuration contradicts itself or the schedules. */
export function starProblems({ scales, startTokens = 1 }: StarConfig, schedules: Schedules): string[] {
	return Object.entries(schedules).flatMap(([name, { grids }]) => {
		if (grids.length > scales)
			return [`schedule ${name} has ${grids.length} scales; the model has embeddings for ${scales}`];
		const first = grids[0][0] * grids[0][1];
		return first === startTokens
			? []
			: [`schedule ${name} begins with ${first} tokens; the model's first scale has ${startTokens}`];
	});
}

export function starFacts(config: StarConfig): Facts {
	const { depth, width, heads, ffn, codebook, vae, textChannels, textMaxTokens, textEncoder, startTokens = 1 } = config;
	return {
		shape: { depth, width, heads, ffn: padded(ffn) },
		codes: codebookShape(codebook),
		decoder: attentiveDecoder(vae),
		names: codebookTaps,
		startTokens,
		chunkBlocks: 1,
		text: { channels: textChannels, maxTokens: textMaxTokens, encoder: textEncoder, instructions: "" },
		lowRank: { rope: "kept", mostTokens: width },
	};
}
