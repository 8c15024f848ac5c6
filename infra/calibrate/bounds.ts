/** From what was observed to where stages begin and how many tokens they need. */
import type { Calibration } from "../../worker/protocol/model-info.ts";
import type { ScaleObservation } from "./observe.ts";

/** So much is still to come of a resolution that has settled, and of a picture that is as good as done. */
const SETTLED = 0.2;
const DONE = 0.1;
/**
 * Guidance is dropped where that makes no more difference than this to the finished picture: little beside what a
 * settled one still lacks.
 */
const UNNOTICED = 0.05;
/**
 * Tokens are left out where a late scale's change lies in fewer than half of them: what is lost with those that only
 * seem idle costs more.
 */
const FEW = 1 / 2;

export interface ScaleMeans extends Omit<ScaleObservation, "right"> {
	/** Share of the pictures judged as their finished one; null without a judge. */
	asJudged: number | null;
}

/** Means over all pictures, by scale. Ranks are over those that have them. */
export function meansOf(pictures: readonly (readonly ScaleObservation[])[]): ScaleMeans[] {
	return pictures[0].map((first, scale) => {
		const at = pictures.map((scales) => scales[scale]);
		const mean = (of: (scale: ScaleObservation) => number, among = at) =>
			among.reduce((sum, scale) => sum + of(scale), 0) / among.length;
		const ranked = at.filter(({ ranks }) => ranks.length > 0);
		return {
			coarse: mean((s) => s.coarse),
			middle: mean((s) => s.middle),
			unguided: mean((s) => s.unguided),
			conditional: mean((s) => s.conditional),
			unconditional: mean((s) => s.unconditional),
			looks: first.looks.map((_, look) => ({
				tokens: mean((s) => s.looks[look].tokens),
				score: mean((s) => s.looks[look].score),
			})),
			detail: mean((s) => s.detail),
			highFrequency: mean((s) => s.highFrequency),
			ranks: (ranked[0]?.ranks ?? []).map((_, chunk) => mean(({ ranks }) => ranks[chunk], ranked)),
			asJudged: first.right === null ? null : mean((s) => Number(s.right === pictures[at.indexOf(s)].at(-1)?.right)),
		};
	});
}

/**
 * What policies plan one schedule by, from pictures observed on it: all but what other pictures show (temperature.ts,
 * text-guidance.ts).
 */
export function boundsOf(
	pictures: readonly (readonly ScaleObservation[])[],
): Omit<Calibration, "earlyTau" | "textGuidance"> {
	const means = meansOf(pictures);
	const scales = means.length;
	/** The scale after the first one from which on all hold; the number of scales where none does. */
	const after = (holds: (scale: ScaleMeans) => boolean) =>
		Math.min(scales, means.findLastIndex((scale) => !holds(scale)) + 2);
	const structureFrom = after(({ coarse }) => coarse <= SETTLED);
	const fidelityFrom = Math.max(
		structureFrom,
		after(({ middle }) => middle <= SETTLED),
	);
	const skipFrom = Math.max(
		1,
		after(({ middle }) => middle <= DONE),
	);
	const guidanceTo = means.findLastIndex(({ unguided }) => unguided > UNNOTICED) + 1;
	const late = [...means.entries()].slice(Math.min(fidelityFrom, scales));
	const byScale = <T>(of: (scale: ScaleMeans) => T) => Object.fromEntries(late.map(([scale, at]) => [scale, of(at)]));
	const seen = pictures
		.map((picture) => picture[Math.max(0, Math.min(fidelityFrom, scales) - 1)].highFrequency)
		.toSorted((a, b) => a - b);
	const quantile = (share: number) => rounded(seen[Math.floor(share * seen.length)]);
	return {
		structureFrom,
		fidelityFrom,
		skipFrom,
		guidanceTo,
		rankRatio: late.every(([, { ranks }]) => ranks.length > 0) ? byScale(({ ranks }) => ranks.map(rounded)) : {},
		detailRatio: byScale(({ detail }) => rounded(detail)),
		look: lookOf(means, fidelityFrom),
		detail: [quantile(1 / 3), quantile(2 / 3)],
	};
}

/**
 * The picture is looked at when the fidelity stage begins, where that leaves out enough tokens in all of its scales.
 */
function lookOf(means: readonly ScaleMeans[], fidelityFrom: number): Calibration["look"] {
	const after = fidelityFrom - 1;
	const late = means.slice(fidelityFrom).map(({ looks }) => looks[after]);
	if (after < 0 || late.length === 0 || late.some(({ tokens }) => tokens > FEW))
		return { after: means.length - 1, from: means.length, hold: 1 };
	return { after, from: fidelityFrom, hold: rounded(late.reduce((sum, { score }) => sum + score, 0) / late.length) };
}

const DIGITS = 1e4;
const rounded = (value: number) => Math.max(1, Math.round(value * DIGITS)) / DIGITS;
