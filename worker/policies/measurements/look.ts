import { z } from "zod";
import { MAX_SCALES } from "../../protocol/plan.ts";
import { beyond, type Observed, rounded, Share } from "./measurement.ts";

/**
 * Tokens are left out where a late scale's change lies in fewer than half of them: what is lost with those that only
 * seem idle costs more.
 */
const FEW = 1 / 2;

const Look = z.strictObject({
	after: z.int().min(0).max(MAX_SCALES),
	from: z.int().min(1).max(MAX_SCALES),
	hold: Share,
});

/**
 * Scales from `from` on change the picture where tokens stand that hold `hold` of what there is to see after scale
 * `after`: when the fidelity stage begins, where that leaves out enough tokens in all of its scales.
 */
export const look: Observed<z.infer<typeof Look>> = {
	schema: Look,
	problems: ({ after, from }, { scales }) => [
		...beyond(from, scales),
		...(after < from ? [] : [`it looks after scale ${after}, which must come before scale ${from}`]),
	],
	measure({ means, fidelityFrom }) {
		const after = fidelityFrom - 1;
		const late = means.slice(fidelityFrom).map(({ looks }) => looks[after]);
		if (after < 0 || late.length === 0 || late.some(({ tokens }) => tokens > FEW))
			return { after: means.length - 1, from: means.length, hold: 1 };
		const score = late.reduce((sum, { score }) => sum + score, 0) / late.length;
		return { after, from: fidelityFrom, hold: rounded(score) };
	},
};
