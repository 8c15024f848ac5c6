/** Every kind of reduction, by what a plan writes in its `write`. A new one is a file of its own and two lines here. */
import { z } from "zod";
import { Gathering, gathering } from "./gathering.ts";
import type { ReductionKind } from "./kind.ts";
import { Projection, projection } from "./projection.ts";

/** A span of blocks that runs on few tokens. */
export const Reduction = z.discriminatedUnion("write", [Projection, Gathering]);
export type Reduction = z.infer<typeof Reduction>;

const kinds: Readonly<Record<Reduction["write"], ReductionKind<Reduction>>> = {
	"norm-sampled": projection,
	kept: gathering,
};

/** What is known of a reduction's kind. */
export const kindOf = ({ write }: Reduction): ReductionKind<Reduction> => kinds[write];

export type { Gathering, Projection };
