import type { RgbImage } from "./rgb-image.ts";

/**
 * How much there is to see at every pixel of a picture: differences to the pixel above and the one to the left, all
 * channels.
 */
export interface Detail {
	height: number;
	width: number;
	data: Float64Array;
}

export function detailOf({ width, height, data }: RgbImage): Detail {
	const detail = new Float64Array(height * width);
	for (let y = 0; y < height; y++) {
		for (let x = 0; x < width; x++) {
			const at = (y * width + x) * 3;
			for (let c = at; c < at + 3; c++) {
				if (y > 0) detail[y * width + x] += Math.abs(data[c] - data[c - 3 * width]);
				if (x > 0) detail[y * width + x] += Math.abs(data[c] - data[c - 3]);
			}
		}
	}
	return { height, width, data: detail };
}

/** Mean detail where each token of a grid stands. [rows * columns] */
export function detailByToken(
	{ height, width, data }: Detail,
	[rows, columns]: readonly [number, number],
): Float64Array {
	return Float64Array.from({ length: rows * columns }, (_, token) => {
		const [row, column] = [Math.floor(token / columns), token % columns];
		const [top, bottom] = [Math.floor((row * height) / rows), Math.ceil(((row + 1) * height) / rows)];
		const [left, right] = [Math.floor((column * width) / columns), Math.ceil(((column + 1) * width) / columns)];
		let sum = 0;
		for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) sum += data[y * width + x];
		return sum / ((bottom - top) * (right - left));
	});
}

/** Tokens by falling score; equal ones in their own order. */
export const byScore = (scores: Float64Array): number[] =>
	Array.from(scores.keys()).sort((a, b) => scores[b] - scores[a] || a - b);

/** Share of the tokens, highest first, that hold `hold` of all score. */
export function shareHolding(scores: Float64Array, hold: number): number {
	const total = scores.reduce((sum, score) => sum + score, 0);
	let [held, count] = [0, 0];
	for (const token of byScore(scores)) {
		if (held >= hold * total) break;
		held += scores[token];
		count++;
	}
	return Math.max(1, count) / scores.length;
}
