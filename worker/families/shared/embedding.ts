import type { Tensor } from "../../../kernels/gpu/gpu.ts";
import type { Graph } from "../family.ts";

/** One row of the table for all tokens of a scale. */
export const levelEmbedding = (table: Tensor): Graph["embedding"] => ({
	table,
	index: ({ tokens }, scale) => Array<number>(tokens[scale]).fill(scale),
});
