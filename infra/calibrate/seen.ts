/** From exact pictures, observed scale by scale, to their means and to where stages begin. */
import {
	type ScaleMeans,
	type ScaleObservation,
	type Seen,
	settledFrom,
} from "../../worker/policies/measurements/measurement.ts";

/** So much is still to come of a resolution that has settled. */
const SETTLED = 0.2;

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

/** Semantics have settled where the coarse picture has, structure where the middle one has. */
export function seenOf(pictures: readonly (readonly ScaleObservation[])[]): Seen {
	const means = meansOf(pictures);
	const structureFrom = settledFrom(means, ({ coarse }) => coarse <= SETTLED);
	const fidelityFrom = Math.max(
		structureFrom,
		settledFrom(means, ({ middle }) => middle <= SETTLED),
	);
	return { pictures, means, structureFrom, fidelityFrom };
}
