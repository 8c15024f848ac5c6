/** Shape of a HART model (arXiv 2410.10812): what the graph needs beside its tensors. */
import { z } from "zod";
import type { Facts } from "../family.ts";
import { CodebookConfig, codebookShape, codebookTaps } from "../shared/codebook.ts";
import { padded } from "../shared/padded.ts";
import type { Schedules } from "../shared/schedules.ts";
import { Count, Layers } from "../shared/schema.ts";
import { attentiveDecoder, VaeConfig } from "../shared/vae.ts";
import { Qwen2Config } from "../text/config.ts";

/** The network of the residual diffusion, and the steps it takes out of a thousand. */
export const ResidualConfig = z.strictObject({ width: Count, depth: Layers, steps: z.int().min(2).max(1000) });
export type ResidualConfig = z.infer<typeof ResidualConfig>;

export const HartConfig = z.strictObject({
	depth: Layers,
	width: Count,
	heads: Count,
	ffn: Count,
	/** Width of the text features, and the tokens that every prompt is padded to: all of them are attended to. */
	textChannels: Count,
	textMaxTokens: Count,
	normEps: z.number().gt(0),
	/** The text's features are normed before they are embedded. Left out: true. */
	contextNorm: z.boolean().optional(),
	/**
	 * What modulates a block: a table of its own with the mean text token; a map of its own of the mean or the greatest
	 * text token; nothing. Left out: the table.
	 */
	modulation: z.enum(["table", "map-mean", "map-max", "none"]).optional(),
	/** The feed-forward: SwiGLU, or GELU without a gate. Left out: SwiGLU. */
	feedForward: z.enum(["swiglu", "gelu"]).optional(),
	/** What says which scale a token is of: sines of its number through two matrices, or a table. Left out: sines. */
	levels: z.enum(["sines", "table"]).optional(),
	/** Scales that the table of levels has. Left out: it is not there. */
	scales: Count.optional(),
	/**
	 * Queries and keys are L2-normalised, with a learned scale by head; else the softmax scale is 0.25 / sqrt(head size).
	 */
	normalised: z.boolean(),
	/** Base of the rotary frequencies. */
	ropeTheta: z.number().gt(1),
	residual: ResidualConfig,
	codebook: CodebookConfig,
	vae: VaeConfig,
	/** Null: padded features and their mask are given in `draws`, as in the reference sets. */
	textEncoder: Qwen2Config.nullable(),
	/** Text before every prompt that the encoder reads; its own states are not used. */
	instructions: z.string().max(4096),
});
export type HartConfig = z.infer<typeof HartConfig>;

/** What of the configuration contradicts itself or the schedules. */
export function hartProblems(config: HartConfig, schedules: Schedules): string[] {
	const { width, heads, codebook, residual, levels, scales = 0 } = config;
	const problems = Object.entries(schedules)
		.map(([name, { grids }]) => [name, grids[0].join("x")])
		.filter(([, grid]) => grid !== "1x1")
		.map(
			([name, grid]) =>
				`schedule ${name} begins with ${grid}; the first code is read from one token, the last of the text`,
		);
	if ((width / heads) % 8 !== 0)
		problems.push(
			`head size ${width / heads} (embed_dim / num_heads) is not a multiple of 8, as rotary positions need`,
		);
	if (codebook.channels % 4 !== 0)
		problems.push(`codebook.channels ${codebook.channels} is not a multiple of 4, which the residual diffusion needs`);
	if (residual.width % 4 !== 0) problems.push(`residual.width ${residual.width} is not a multiple of 4`);
	for (const [name, { grids }] of levels === "table" ? Object.entries(schedules) : [])
		if (grids.length > scales)
			problems.push(`schedule ${name} has ${grids.length} scales; the model has embeddings for ${scales}`);
	return problems;
}

export function hartFacts(config: HartConfig): Facts {
	const { depth, width, heads, ffn, codebook, vae, textChannels, textMaxTokens, textEncoder, instructions } = config;
	return {
		shape: { depth, width, heads, ffn: padded(ffn), gated: config.feedForward !== "gelu" },
		codes: codebookShape(codebook),
		decoder: attentiveDecoder(vae),
		names: codebookTaps,
		startTokens: textMaxTokens,
		chunkBlocks: 1,
		text: { channels: textChannels, maxTokens: textMaxTokens, encoder: textEncoder, instructions },
		lowRank: { rope: "kept", mostTokens: width },
		refinerWidth: config.residual.width,
	};
}
