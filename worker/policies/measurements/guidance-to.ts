import { z } from "zod";
import { MAX_SCALES } from "../../protocol/plan.ts";
import { beyond, type Observed } from "./measurement.ts";

/**
 * Guidance is dropped where that makes no more difference than this to the finished picture. Colours of two objects are
 * what shows more first (docs/evaluation.md).
 */
const UNNOTICED = 0.03;

/** The scale from which dropping guidance makes no difference to speak of. */
export const guidanceTo: Observed<number> = {
	schema: z.int().min(0).max(MAX_SCALES),
	problems: (value, { scales }) => beyond(value, scales),
	measure: ({ means }) => means.findLastIndex(({ unguided }) => unguided > UNNOTICED) + 1,
};
