/** What a kind of reduction says of itself, and what the schemas of all kinds are made of. */
import { z } from "zod";

export const MAX_BLOCKS = 256;

/** Blocks `from` (inclusive) to `to` (exclusive). */
export const Blocks = z.tuple([z.int().min(0).max(MAX_BLOCKS), z.int().min(1).max(MAX_BLOCKS)]);
/** Tokens kept per row. */
export const Count = z.int().min(1);
/**
 * Of the scale `from`, resized to this grid: the span's `output`, which the other tokens become, or the `change` it
 * made to the residual stream, which is added to them.
 */
export const Earlier = z.strictObject({
	from: z.int().min(0),
	resize: z.literal("area"),
	of: z.enum(["output", "change"]),
});
/**
 * Rotary positions of kept tokens: the first of the scale (StageVAR on Infinity), or those they are written back to (on
 * STAR).
 */
export const KeptRope = z.enum(["first", "kept"]);

/** Where a reduction stands: the index of its scale, and how many blocks the model has. */
export interface Place {
	scale: number;
	blocks: number;
}

/** What a reduction takes of a round's workspace. */
export interface ReductionNeed {
	/** Floats of its projections. */
	matrix: number;
	/** It needs mean tokens and room for what passes by. */
	gathers: boolean;
}

/** One kind of reduction: all that is known of it outside the engine, which runs it. */
export interface ReductionKind<R> {
	/** How a plan spells it. */
	schema: z.ZodType<R>;
	/** What is wrong with one that passed its schema, beyond what is asked of all kinds. */
	problems(reduction: R, place: Place): string[];
	/** Operations of one guidance row to make the few tokens of `tokens`, each of `width` channels. */
	flops(reduction: R, tokens: number, width: number): number;
	/** `tokens`: over all guidance rows. */
	need(reduction: R, tokens: number): ReductionNeed;
	/** Index of the earlier scale whose picture it chooses by, if any. */
	looksAt(reduction: R): number | undefined;
}
