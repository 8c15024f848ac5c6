/** Shape of a VAR model (arXiv 2404.02905): what the graph needs beside its tensors. */
import { z } from "zod";
import type { Schedule } from "../../protocol/model-info.ts";
import type { Facts } from "../family.ts";
import { CodebookConfig, codebookShape, codebookTaps } from "../shared/codebook.ts";
import { padded } from "../shared/padded.ts";
import type { Schedules } from "../shared/schedules.ts";
import { Count, Layers } from "../shared/schema.ts";
import { attentiveDecoder, VaeConfig } from "../shared/vae.ts";

export const VarConfig = z.strictObject({
	depth: Layers,
	width: Count,
	heads: Count,
	ffn: Count,
	/** Classes; one more embedding stands for none of them. */
	classes: Count,
	/** AdaLN: a map of the class for every block, or one for all with an offset by block. */
	adaln: z.enum(["block", "shared"]),
	/**
	 * Queries and keys are L2-normalised, with a learned scale by head; else the softmax scale is 0.25 / sqrt(head size).
	 */
	normalised: z.boolean(),
	normEps: z.number().gt(0),
	/** Scales, and tokens of all of them: every schedule has as many. */
	scales: Count,
	tokens: Count,
	/** Of the first one. Left out: 1. */
	startTokens: Count.optional(),
	codebook: CodebookConfig,
	vae: VaeConfig,
});
export type VarConfig = z.infer<typeof VarConfig>;

/**
 * What of the configuration contradicts itself or the schedules: positions are learned, so that all schedules have the
 * same tokens scale by scale.
 */
export function varProblems({ scales, tokens, startTokens = 1 }: VarConfig, schedules: Schedules): string[] {
	const tokensOf = ({ grids }: Schedule) => grids.map(([height, width]) => height * width);
	const [first] = Object.values(schedules);
	return Object.entries(schedules).flatMap(([name, schedule]) => {
		const own = tokensOf(schedule);
		const sum = own.reduce((a, b) => a + b, 0);
		if (own.length !== scales || sum !== tokens)
			return [
				`schedule ${name} has ${own.length} scales of ${sum} tokens; ` +
					`the model's positions are for ${scales} of ${tokens}`,
			];
		if (own.join() !== tokensOf(first).join())
			return [`schedule ${name} has other tokens by scale than the first one; the model's positions fit one of them`];
		return own[0] === startTokens
			? []
			: [`schedule ${name} begins with ${own[0]} tokens; the model's first scale has ${startTokens}`];
	});
}

export const varFacts = ({ depth, width, heads, ffn, classes, startTokens = 1, codebook, vae }: VarConfig): Facts => ({
	shape: { depth, width, heads, ffn: padded(ffn) },
	codes: codebookShape(codebook),
	decoder: attentiveDecoder(vae),
	names: codebookTaps,
	startTokens,
	chunkBlocks: 1,
	text: null,
	classes,
});
