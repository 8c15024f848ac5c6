/** Shape of a VAR model (arXiv 2404.02905): what the graph needs beside its tensors. */
import { z } from "zod";
import type { Schedule } from "../../protocol/model-info.ts";
import { VaeConfig } from "../infinity/config.ts";

const Count = z
	.int()
	.min(1)
	.max(1 << 20);

/** Multi-scale vector quantisation: one code of a vocabulary a token, partially shared convolutions after enlarging. */
export const CodebookConfig = z.strictObject({
	vocabulary: Count.refine((size) => size > 1 && Number.isInteger(Math.log2(size)), "expected a power of two"),
	/** Of a code's vector, and of the latent. */
	channels: Count,
	/** Convolutions that the scales share. */
	phis: Count,
});
export type CodebookConfig = z.infer<typeof CodebookConfig>;

export const VarConfig = z.strictObject({
	depth: Count,
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
	codebook: CodebookConfig,
	vae: VaeConfig,
});
export type VarConfig = z.infer<typeof VarConfig>;

/**
 * What of the configuration contradicts itself or the schedules: positions are learned, so that all schedules have the
 * same tokens scale by scale.
 */
export function varProblems({ scales, tokens }: VarConfig, schedules: Readonly<Record<string, Schedule>>): string[] {
	const tokensOf = ({ grids }: Schedule) => grids.map(([height, width]) => height * width);
	const [first] = Object.values(schedules);
	return Object.entries(schedules).flatMap(([name, schedule]) => {
		const own = tokensOf(schedule);
		const sum = own.reduce((a, b) => a + b, 0);
		if (own.length !== scales || sum !== tokens)
			return [
				`schedule ${name} has ${own.length} scales of ${sum} tokens; the model's positions are for ${scales} of ${tokens}`,
			];
		return own.join() === tokensOf(first).join()
			? []
			: [`schedule ${name} has other tokens by scale than the first one; the model's positions fit one of them`];
	});
}
