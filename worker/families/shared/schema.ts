/** Pieces of configurations. */
import { z } from "zod";

/** A size or a number of things: more than any model has is refused. */
export const Count = z
	.int()
	.min(1)
	.max(1 << 20);
