/** Pieces of configurations. */
import { z } from "zod";
import { MAX_BLOCKS } from "../../protocol/reductions/kind.ts";

/** A size or a number of things: more than any model has is refused. */
export const Count = z
	.int()
	.min(1)
	.max(1 << 20);

/** How often something with tensors of its own is repeated: blocks, layers, convolutions. */
export const Layers = Count.max(MAX_BLOCKS);
