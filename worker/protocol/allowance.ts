/** How long a picture may be silent before whoever makes it counts as stuck. */
import { z } from "zod";
import type { StagePlan } from "./plan.ts";

/** The newest scale of a picture that was made, and how long it took from the event before. */
export const Pace = z.object({ scale: z.int().min(0), milliseconds: z.number().min(0) });
export type Pace = z.infer<typeof Pace>;

/** Other pictures on the same device, a slow network and a cold kernel all fit in. */
const SLACK = 8;

/**
 * Milliseconds for the scales `from` to `to`, both counted: several times what they take at the pace of the newest
 * scale, by tokens and guidance rows, and never less than `floor`.
 */
export function allowance(
	plan: StagePlan,
	grids: readonly (readonly [number, number])[],
	pace: Pace | null,
	[from, to]: readonly [from: number, to: number],
	floor: number,
): number {
	if (pace === null) return floor;
	let cost = 0;
	for (let scale = from; scale <= to; scale++) cost += costOf(plan, grids, scale);
	return Math.max(floor, (SLACK * pace.milliseconds * cost) / Math.max(1, costOf(plan, grids, pace.scale)));
}

/** Tokens of all rows, as if none were reduced: too much is no harm here. */
function costOf(plan: StagePlan, grids: readonly (readonly [number, number])[], scale: number): number {
	const step = plan.steps[scale];
	if (step?.kind !== "run") return 0;
	return grids[scale][0] * grids[scale][1] * (step.rows === "both" ? 2 : 1);
}
