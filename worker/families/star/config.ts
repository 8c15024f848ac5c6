/** Shape of a STAR model (arXiv 2406.10797): what the graph needs beside its tensors. */
import { z } from "zod";
import type { Facts } from "../family.ts";
import { CodebookConfig, codebookShape, codebookTaps } from "../shared/codebook.ts";
import type { Schedules } from "../shared/schedules.ts";
import { Count } from "../shared/schema.ts";
import { attentiveDecoder, VaeConfig } from "../shared/vae.ts";
import { ClipTextConfig } from "../text/config.ts";

export const StarConfig = z.strictObject({
	depth: Count,
	width: Count,
	heads: Count,
	ffn: Count,
	/** Width of the text features, and the most tokens of a prompt. */
	textChannels: Count,
	textMaxTokens: Count,
	normEps: z.number().gt(0),
	/** Rows of the level embedding: the most scales of a schedule. */
	scales: Count,
	/** Rotary positions of every scale are spread over 0 .. ropeReach; base of their frequencies. */
	ropeReach: z.number().gt(0),
	ropeTheta: z.number().gt(1),
	codebook: CodebookConfig,
	vae: VaeConfig,
	/** Null: features, their mask and the pooled text are given in `draws`, as in the reference sets. */
	textEncoder: ClipTextConfig.nullable(),
});
export type StarConfig = z.infer<typeof StarConfig>;

/** What of the configuration contradicts itself or the schedules. */
export function starProblems({ width, heads, scales }: StarConfig, schedules: Schedules): string[] {
	const problems = Object.entries(schedules)
		.filter(([, { grids }]) => grids.length > scales)
		.map(([name, { grids }]) => `schedule ${name} has ${grids.length} scales; the model has embeddings for ${scales}`);
	if ((width / heads) % 8 !== 0)
		problems.push(`head size ${width / heads} is not a multiple of 8, which rotary positions in two directions need`);
	return problems;
}

export function starFacts(config: StarConfig): Facts {
	const { depth, width, heads, ffn, codebook, vae, textChannels, textMaxTokens, textEncoder } = config;
	return {
		shape: { depth, width, heads, ffn },
		codes: codebookShape(codebook),
		decoder: attentiveDecoder(vae),
		names: codebookTaps,
		startTokens: 1,
		chunkBlocks: 1,
		text: { channels: textChannels, maxTokens: textMaxTokens, encoder: textEncoder, instructions: "" },
		lowRank: { rope: "kept", mostTokens: width },
	};
}
