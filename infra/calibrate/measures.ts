/** What can be read off one exact picture: pure functions over its tensors and pictures. */
import { EigenvalueDecomposition, Matrix } from "ml-matrix";
import { byScore, shareHolding } from "../../worker/engine/round/detail.ts";
import type { RgbImage } from "../../worker/engine/types.ts";
import { cellMeans } from "../eval/cells.ts";

/**
 * Mean squared difference of two pictures looked at with `side` x `side` cells, as a share of the second one's own
 * variance there.
 */
export function unsettled(early: RgbImage, final: RgbImage, side: number): number {
	const [a, b] = [cellMeans(early, side), cellMeans(final, side)];
	let [error, variance] = [0, 0];
	for (let c = 0; c < 3; c++) {
		const of = (data: Float64Array) => data.filter((_, i) => i % 3 === c);
		const [x, y] = [of(a), of(b)];
		const mean = y.reduce((sum, value) => sum + value, 0) / y.length;
		y.forEach((value, i) => {
			error += (x[i] - value) ** 2;
			variance += (value - mean) ** 2;
		});
	}
	return variance === 0 ? Number(error > 0) : error / variance;
}

/** Share of the choices, among `values` values each, whose likeliest value is the same. */
export function agreement(a: Float32Array, b: Float32Array, values: number): number {
	let same = 0;
	for (let at = 0; at < a.length; at += values) if (likeliest(a, at, values) === likeliest(b, at, values)) same++;
	return (same * values) / a.length;
}

function likeliest(logits: Float32Array, at: number, values: number): number {
	let best = 0;
	for (let v = 1; v < values; v++) if (logits[at + v] > logits[at + best]) best = v;
	return best;
}

/** Tokens that hold `share` of the energy, taken by falling score: their share of all, and of what all score. */
export function holding(
	energies: Float64Array,
	share: number,
	scores: Float64Array,
): { tokens: number; score: number } {
	const [energy, score] = [energies, scores].map((of) => of.reduce((sum, value) => sum + value, 0));
	let [held, scored, count] = [0, 0, 0];
	for (const token of byScore(scores)) {
		if (count > 0 && held >= share * energy) break;
		held += energies[token];
		scored += scores[token];
		count++;
	}
	return { tokens: count / energies.length, score: score === 0 ? 1 : scored / score };
}

/** Squared difference of two pictures of one size where each token of a grid stands. */
export function changeByToken(
	before: RgbImage,
	after: RgbImage,
	[height, width]: readonly [number, number],
): Float64Array {
	const out = new Float64Array(height * width);
	for (let i = 0; i < after.data.length; i++) {
		const pixel = Math.floor(i / 3);
		const [y, x] = [Math.floor(pixel / after.width), pixel % after.width];
		out[Math.floor((y * height) / after.height) * width + Math.floor((x * width) / after.width)] +=
			(after.data[i] - before.data[i]) ** 2;
	}
	return out;
}

/** Squared distance of every token from the mean of the up to nine around it. x: [height * columns, width]. */
export function fromSurroundings(x: Float32Array, columns: number, width: number): Float64Array {
	const tokens = x.length / width;
	const lines = tokens / columns;
	return Float64Array.from({ length: tokens }, (_, token) => {
		const [line, column] = [Math.floor(token / columns), token % columns];
		let distance = 0;
		for (let c = 0; c < width; c++) {
			let [sum, count] = [0, 0];
			for (let l = Math.max(0, line - 1); l < Math.min(lines, line + 2); l++) {
				for (let k = Math.max(0, column - 1); k < Math.min(columns, column + 2); k++, count++)
					sum += x[(l * columns + k) * width + c];
			}
			distance += (x[token * width + c] - sum / count) ** 2;
		}
		return distance;
	});
}

/** Least number of directions that hold `share` of the energy of x [tokens, width], as a share of the tokens. */
export function rankShare(x: Float32Array, width: number, share: number): number {
	const rows = new Matrix(
		Array.from({ length: x.length / width }, (_, token) => Array.from(x.subarray(token * width, (token + 1) * width))),
	);
	const gram = rows.rows <= width ? rows.mmul(rows.transpose()) : rows.transpose().mmul(rows);
	const energies = Float64Array.from(
		new EigenvalueDecomposition(gram, { assumeSymmetric: true }).realEigenvalues,
		(value) => Math.max(0, value),
	);
	return (shareHolding(energies, share) * energies.length) / rows.rows;
}
