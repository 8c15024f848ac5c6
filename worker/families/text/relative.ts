/**
 * T5's relative positions (arXiv 1910.10683): the bucket of `key - query + tokens - 1`, for all pairs of a text. One
 * half is for keys before the query, in each half the first half is exact and the rest grows by logarithm, up to
 * `distance`. In f32, as published.
 */
export function relativeBuckets(tokens: number, buckets: number, distance: number): number[] {
	const half = buckets / 2;
	const exact = half / 2;
	const f = Math.fround;
	const span = f(Math.log(distance / exact));
	return Array.from({ length: 2 * tokens - 1 }, (_, i) => {
		const relative = i - (tokens - 1);
		const far = Math.abs(relative);
		const bucket =
			far < exact
				? far
				: Math.min(half - 1, exact + Math.floor(f(f(f(Math.log(f(far / exact))) / span) * f(half - exact))));
		return bucket + (relative > 0 ? half : 0);
	});
}
