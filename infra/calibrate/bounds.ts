/** From what was observed to where stages begin and how many tokens they need. */
import type { Calibration } from "../../worker/protocol/model-info.ts";
import type { ScaleObservation } from "./observe.ts";

/** A resolution has settled when this little is still to come there; nothing is to come when it is this little at middle resolution. */
export const SETTLED = 0.05;
export const DONE = 0.01;
/** Choices that the conditional row alone must make as the guided pair does. */
export const AGREEING = 0.9;
/** Pictures of a scale in which the judge must find what it finds in the finished ones. */
export const JUDGED = 0.98;

export interface ScaleMeans extends Omit<ScaleObservation, "right"> {
	/** Share of the pictures judged as their finished one; null without a judge. */
	asJudged: number | null;
}

/** Means over all pictures, by scale. Ranks are over those that have them. */
export function meansOf(pictures: readonly (readonly ScaleObservation[])[]): ScaleMeans[] {
	return pictures[0].map((first, scale) => {
		const at = pictures.map((scales) => scales[scale]);
		const mean = (of: (scale: ScaleObservation) => number, among = at) => among.reduce((sum, scale) => sum + of(scale), 0) / among.length;
		const ranked = at.filter(({ ranks }) => ranks.length > 0);
		return {
			coarse: mean((s) => s.coarse), middle: mean((s) => s.middle), conditional: mean((s) => s.conditional), unconditional: mean((s) => s.unconditional),
			pivotal: mean((s) => s.pivotal), detail: mean((s) => s.detail), highFrequency: mean((s) => s.highFrequency),
			ranks: (ranked[0]?.ranks ?? []).map((_, chunk) => mean(({ ranks }) => ranks[chunk], ranked)),
			asJudged: first.right === null ? null : mean((s) => Number(s.right === pictures[at.indexOf(s)].at(-1)?.right)),
		};
	});
}

export function calibrationOf(pictures: readonly (readonly ScaleObservation[])[]): Calibration {
	const means = meansOf(pictures);
	const scales = means.length;
	/** The scale after the first one from which on all hold; the number of scales where none does. */
	const after = (holds: (scale: ScaleMeans) => boolean) => Math.min(scales, means.findLastIndex((scale) => !holds(scale)) + 2);
	const judged = ({ asJudged }: ScaleMeans) => asJudged === null || asJudged >= JUDGED;
	const structureFrom = after(({ coarse }) => coarse <= SETTLED);
	const fidelityFrom = Math.max(structureFrom, after((scale) => scale.middle <= SETTLED && judged(scale)));
	const skipFrom = Math.max(1, after((scale) => scale.middle <= DONE && judged(scale)));
	const guidanceTo = means.findLastIndex(({ conditional }) => conditional < AGREEING) + 1;
	const late = [...means.entries()].slice(Math.min(fidelityFrom, scales));
	const byScale = <T>(of: (scale: ScaleMeans) => T) => Object.fromEntries(late.map(([scale, at]) => [scale, of(at)]));
	const seen = pictures.map((picture) => picture[Math.max(0, Math.min(fidelityFrom, scales) - 1)].highFrequency).toSorted((a, b) => a - b);
	const quantile = (share: number) => rounded(seen[Math.floor(share * seen.length)]);
	return {
		structureFrom, fidelityFrom, skipFrom, guidanceTo,
		rankRatio: late.every(([, { ranks }]) => ranks.length > 0) ? byScale(({ ranks }) => ranks.map(rounded)) : {},
		detailRatio: byScale(({ detail }) => rounded(detail)),
		pivotalRatio: byScale(({ pivotal }) => rounded(pivotal)),
		detail: [quantile(1 / 3), quantile(2 / 3)],
	};
}

const DIGITS = 1e4;
const rounded = (value: number) => Math.max(1, Math.round(value * DIGITS)) / DIGITS;
