/** Shape of a STAR model (arXiv 2406.10797): what the graph needs beside its tensors. */
import { z } from "zod";
import type { Schedule } from "../../protocol/model-info.ts";
import { VaeConfig } from "../infinity/config.ts";
import { ClipTextConfig } from "../text/config.ts";
import { CodebookConfig } from "../var/config.ts";

const Count = z
	.int()
	.min(1)
	.max(1 << 20);

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
export function starProblems(
	{ width, heads, scales }: StarConfig,
	schedules: Readonly<Record<string, Schedule>>,
): string[] {
	const problems = Object.entries(schedules).flatMap(([name, { grids }]) =>
		grids.length <= scales
			? []
			: [`schedule ${name} has ${grids.length} scales; the model has embeddings for ${scales}`],
	);
	if ((width / heads) % 8 !== 0)
		problems.push(`head size ${width / heads} is not a multiple of 8, which rotary positions in two directions need`);
	return problems;
}
