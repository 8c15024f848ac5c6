import { z } from "zod";
import { MAX_SCALES } from "../../protocol/plan.ts";
import { beyond, type Observed, settledFrom } from "./measurement.ts";

/** So much is still to come of a picture that is as good as done. */
const DONE = 0.1;

/** The scale from which on the mean picture is as good as done; the number of scales where it never is. */
export const skipFrom: Observed<number> = {
	schema: z.int().min(1).max(MAX_SCALES),
	problems: (value, { scales }) => beyond(value, scales),
	measure: ({ means }) =>
		Math.max(
			1,
			settledFrom(means, ({ middle }) => middle <= DONE),
		),
};
