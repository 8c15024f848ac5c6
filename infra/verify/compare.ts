import type { Recorded } from "./reference-set.ts";

export interface Comparison {
	name: string;
	ok: boolean;
	/** Largest |difference|, and the most it may be. */
	error: number;
	bound: number;
	/** Mean |difference| and its bound, where the recording has one. */
	mean: number;
	meanBound: number | undefined;
	/** Why there is nothing to compare. */
	missing?: string;
}

/** By the format's rule: exact, or max |error| <= max(abs, rel * max |reference|) and the mean within its bound. */
export function compare(
	name: string,
	expected: Recorded & { data: ArrayLike<number> },
	actual: ArrayLike<number> | undefined,
): Comparison {
	const { data, exact, abs, rel, mean: meanBound } = expected;
	const bound = exact ? 0 : Math.max(abs, rel * maxAbs(data));
	const failed = (missing: string): Comparison => ({
		name,
		ok: false,
		error: Infinity,
		bound,
		mean: Infinity,
		meanBound,
		missing,
	});
	if (!actual) return failed("the engine gave no such tensor");
	if (actual.length !== data.length) return failed(`${actual.length} elements instead of ${data.length}`);
	let error = 0;
	let sum = 0;
	for (let i = 0; i < data.length; i++) {
		const difference = Math.abs(actual[i] - data[i]);
		// A NaN must not pass for no difference.
		error = difference <= error ? error : Number.isNaN(difference) ? Infinity : difference;
		sum += difference;
	}
	const mean = data.length > 0 ? sum / data.length : 0;
	return { name, ok: error <= bound && (meanBound === undefined || mean <= meanBound), error, bound, mean, meanBound };
}

function maxAbs(data: ArrayLike<number>): number {
	let most = 0;
	for (let i = 0; i < data.length; i++) most = Math.max(most, Math.abs(data[i]));
	return most;
}

/** [channels, height, width] with every n-th row and column. */
export function subsample(
	data: ArrayLike<number>,
	[channels, height, width]: readonly number[],
	every: number,
): Float32Array {
	const out: number[] = [];
	for (let c = 0; c < channels; c++) {
		for (let y = 0; y < height; y += every)
			for (let x = 0; x < width; x += every) out.push(data[(c * height + y) * width + x]);
	}
	return Float32Array.from(out);
}
