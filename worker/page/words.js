// @ts-check

/** @param {number} milliseconds */
export function seconds(milliseconds) {
	return `${(milliseconds / 1000).toFixed(milliseconds < 950 ? 2 : 1)} seconds`;
}

/** The same where there is little room. @param {number} milliseconds */
export function briefly(milliseconds) {
	return milliseconds < 950 ? `${Math.round(milliseconds)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

/**
 * What a policy costs and gains against exact, as it was measured. @param {{ score: number, delta: number, speedup:
 * number }} measured
 */
export function trade({ score, delta, speedup }) {
	return `Measured: score ${score.toFixed(3)} (${signed(delta)} to exact), ${speedup.toFixed(1)}× as fast`;
}

/** @param {number} value */
export function signed(value) {
	return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
}
