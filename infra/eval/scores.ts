/** Scores by GenEval's protocol, and how sure a difference between two policies is. */

/** Whether the pictures of one prompt are right: one entry a seed. */
export interface Judged {
	category: string;
	right: readonly boolean[];
}
export interface Score {
	/** Share of right pictures by category. */
	categories: Record<string, number>;
	/** Mean of the categories. */
	overall: number;
}
export interface Difference {
	delta: number;
	/** Bounds of the 95 % interval. */
	lower: number;
	upper: number;
}

const RESAMPLES = 10_000;

export function scoreOf(judged: readonly Judged[]): Score {
	const shares = [...Map.groupBy(judged, ({ category }) => category)].map(([category, of]): [string, number] => [
		category,
		mean(of.map(({ right }) => share(right))),
	]);
	return { categories: Object.fromEntries(shares), overall: mean(shares.map(([, score]) => score)) };
}

/**
 * Paired bootstrap of the difference of overall scores, `a` less `b`, of the same prompts in the same order: prompts
 * are drawn with replacement within each category, all seeds of a prompt together. The same for the same input.
 */
export function pairedBootstrap(a: readonly Judged[], b: readonly Judged[]): Difference {
	if (a.length !== b.length || a.some(({ category }, i) => category !== b[i].category))
		throw new RangeError("A paired comparison needs the same prompts in the same order.");
	const differences = a.map(({ category, right }, i) => ({ category, by: share(right) - share(b[i].right) }));
	const strata = [...Map.groupBy(differences, ({ category }) => category).values()].map((of) =>
		Float64Array.from(of, ({ by }) => by),
	);
	const below = randomBelow(1);
	const deltas = Float64Array.from({ length: RESAMPLES }, () => {
		let sum = 0;
		for (const stratum of strata) {
			let drawn = 0;
			for (let i = 0; i < stratum.length; i++) drawn += stratum[below(stratum.length)];
			sum += drawn / stratum.length;
		}
		return sum / strata.length;
	}).sort();
	return {
		delta: scoreOf(a).overall - scoreOf(b).overall,
		lower: quantile(deltas, 0.025),
		upper: quantile(deltas, 0.975),
	};
}

/** Whole numbers below a bound, by mulberry32: the same sequence for the same seed. */
function randomBelow(seed: number): (bound: number) => number {
	let state = seed >>> 0;
	return (bound) => {
		state = (state + 0x6d2b79f5) >>> 0;
		let t = Math.imul(state ^ (state >>> 15), state | 1);
		t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
		return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * bound);
	};
}

const quantile = (sorted: Float64Array, q: number) =>
	sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
const share = (right: readonly boolean[]) => right.filter(Boolean).length / right.length;
export const mean = (values: readonly number[]): number =>
	values.reduce((sum, value) => sum + value, 0) / values.length;
