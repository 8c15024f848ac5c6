import { z } from "zod";
import { MAX_SCALES } from "../../protocol/plan.ts";
import { guidanceTo } from "./guidance-to.ts";
import { beyond, type Observed, rounded, Share } from "./measurement.ts";

/**
 * Tokens are left out where a late scale's change lies in fewer than so many of them: what is lost with those that only
 * seem idle costs more.
 */
const FEW = 0.6;

const Look = z.strictObject({
	after: z.int().min(0).max(MAX_SCALES),
	from: z.int().min(1).max(MAX_SCALES),
	hold: Share,
});

/**
 * Scales from `from` on change the picture where tokens stand that hold `hold` of what there is to see after scale
 * `after`, the one before: the first unguided scale of the fidelity stage from which on that leaves out enough tokens.
 */
export const look: Observed<z.infer<typeof Look>> = {
	schema: Look,
	problems: ({ after, from }, { scales }) => [
		...beyond(from, scales),
		...(after < from ? [] : [`it looks after scale ${after}, which must come before scale ${from}`]),
	],
	measure(seen) {
		const { means, fidelityFrom } = seen;
		for (let from = Math.max(1, fidelityFrom, guidanceTo.measure(seen)); from < means.length; from++) {
			const late = means.slice(from).map(({ looks }) => looks[from - 1]);
			if (late.some(({ tokens }) => tokens > FEW)) continue;
			const score = late.reduce((sum, { score }) => sum + score, 0) / late.length;
			return { after: from - 1, from, hold: rounded(score) };
		}
		return { after: means.length - 1, from: means.length, hold: 1 };
	},
};
