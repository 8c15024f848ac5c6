/** Blocks that run on mixtures of all tokens; the full length is restored after them (StageVAR, arXiv 2512.16483). */
import { z } from "zod";
import { Blocks, Count, Earlier, KeptRope, type ReductionKind } from "./kind.ts";

export const Projection = z.strictObject({
	blocks: Blocks,
	/** Projects and restores once around all of the blocks, or around each of them. */
	each: z.enum(["span", "block"]),
	count: Count,
	/** x' = Q^T x with Q ~ N(0, 1/count). */
	take: z.strictObject({ project: z.literal("gaussian") }),
	rope: KeptRope,
	/** Outputs go to positions drawn without replacement, weight = squared norm of the span input. */
	write: z.literal("norm-sampled"),
	/** What fills the other positions. */
	rest: Earlier,
});
export type Projection = z.infer<typeof Projection>;

export const projection: ReductionKind<Projection> = {
	schema: Projection,
	problems: () => [],
	flops: ({ each, blocks: [from, to], count }, tokens, width) =>
		2 * tokens * count * width * (each === "span" ? 1 : to - from),
	need: ({ count }, tokens) => ({ matrix: tokens * count, gathers: false }),
	looksAt: () => undefined,
};
