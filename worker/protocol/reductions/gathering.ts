/** Blocks that run on the tokens that matter most. */
import { z } from "zod";
import { Blocks, Count, Earlier, type ReductionKind } from "./kind.ts";

/**
 * What tokens are kept for, the highest first: squared distance from the mean token of the scale (FastVAR, arXiv
 * 2503.23367), or from the mean of the token's own surroundings (as SparseVAR, arXiv 2507.20454, tells high frequencies
 * from low); or how much there is to see where the token stands, in the picture as it was after an earlier scale.
 */
export const Score = z.union([
	z.enum(["mean-distance", "high-frequency"]),
	z.strictObject({ picture: z.int().min(0) }),
]);
export type Score = z.infer<typeof Score>;

export const Gathering = z.strictObject({
	blocks: Blocks,
	/**
	 * Chooses and restores once around all of the blocks, around each of them, or around each attention and feed-forward
	 * (FastVAR).
	 */
	each: z.enum(["span", "block", "sublayer"]),
	count: Count,
	take: z.strictObject({ gather: Score }),
	rope: z.literal("kept"),
	/** Outputs go to where the tokens were. */
	write: z.literal("kept"),
	/**
	 * The other tokens: filled from an earlier scale; passed by (`residual`); or left out of the scale altogether
	 * (`skip`), so that the latent goes on as it is there. The last is for one span over all blocks.
	 */
	rest: z.union([Earlier, z.enum(["residual", "skip"])]),
});
export type Gathering = z.infer<typeof Gathering>;

export const gathering: ReductionKind<Gathering> = {
	schema: Gathering,
	problems({ take: { gather }, rest, each, blocks: [from, to] }, { scale, blocks }) {
		const problems: string[] = [];
		if (typeof gather === "object" && gather.picture >= scale)
			problems.push(`it gathers by the picture after scale ${gather.picture}; an earlier one is needed`);
		if (rest === "skip" && (each !== "span" || from > 0 || to < blocks))
			problems.push(
				`rest "skip" leaves tokens out of the whole scale; it is allowed for one span over blocks 0 to ${blocks}`,
			);
		return problems;
	},
	// Choosing tokens multiplies nothing.
	flops: () => 0,
	need: () => ({ matrix: 0, gathers: true }),
	looksAt: ({ take: { gather } }) => (typeof gather === "object" ? gather.picture : undefined),
};
