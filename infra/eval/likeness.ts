/** How like two pictures of one size are. */
import type { RgbImage } from "../../worker/engine/types.ts";

/** Mean squared difference of all channels, of values 0 to 255. Throws RangeError for pictures of different sizes. */
export function squaredError(a: RgbImage, b: RgbImage): number {
	sameSize(a, b);
	let sum = 0;
	for (let i = 0; i < a.data.length; i++) sum += (a.data[i] - b.data[i]) ** 2;
	return sum / a.data.length;
}

/** Peak signal-to-noise ratio in decibels; Infinity for no error. */
export const psnr = (squaredError: number): number => 10 * Math.log10(255 ** 2 / squaredError);

const WINDOW = 11;
const SIGMA = 1.5;
const [C1, C2] = [(0.01 * 255) ** 2, (0.03 * 255) ** 2];
const GAUSSIAN = ((weights) => weights.map((weight) => weight / weights.reduce((a, b) => a + b)))(
	Array.from({ length: WINDOW }, (_, i) => Math.exp(-((i - (WINDOW - 1) / 2) ** 2) / (2 * SIGMA ** 2))),
);

/**
 * Structural similarity (Wang, Bovik, Sheikh, Simoncelli 2004): Gaussian window of 11 with deviation 1.5, over the
 * places where it fits, mean of the three channels. 1 for equal pictures. Throws RangeError for different sizes or
 * sides under 11.
 */
export function ssim(a: RgbImage, b: RgbImage): number {
	sameSize(a, b);
	const { width, height } = a;
	if (Math.min(width, height) < WINDOW)
		throw new RangeError(`SSIM needs pictures of ${WINDOW} pixels a side at least, not ${width}x${height}.`);
	let sum = 0;
	for (let c = 0; c < 3; c++) {
		const [x, y] = [a, b].map(({ data }) => Float64Array.from({ length: width * height }, (_, i) => data[i * 3 + c]));
		const blurred = (of: (i: number) => number) =>
			blur(
				Float64Array.from(x, (_, i) => of(i)),
				width,
				height,
			);
		const [mx, my, xx, yy, xy] = [
			blur(x, width, height),
			blur(y, width, height),
			blurred((i) => x[i] ** 2),
			blurred((i) => y[i] ** 2),
			blurred((i) => x[i] * y[i]),
		];
		let channel = 0;
		for (let i = 0; i < mx.length; i++) {
			const [mean, spread] = [mx[i] ** 2 + my[i] ** 2, xx[i] - mx[i] ** 2 + yy[i] - my[i] ** 2];
			channel += ((2 * mx[i] * my[i] + C1) * (2 * (xy[i] - mx[i] * my[i]) + C2)) / ((mean + C1) * (spread + C2));
		}
		sum += channel / mx.length;
	}
	return sum / 3;
}

/** Separable, over the places where the window fits. */
function blur(x: Float64Array, width: number, height: number): Float64Array {
	const [w, h] = [width - WINDOW + 1, height - WINDOW + 1];
	const rows = new Float64Array(w * height);
	for (let y = 0; y < height; y++)
		for (let u = 0; u < w; u++) for (let k = 0; k < WINDOW; k++) rows[y * w + u] += GAUSSIAN[k] * x[y * width + u + k];
	const out = new Float64Array(w * h);
	for (let v = 0; v < h; v++)
		for (let k = 0; k < WINDOW; k++) for (let u = 0; u < w; u++) out[v * w + u] += GAUSSIAN[k] * rows[(v + k) * w + u];
	return out;
}

function sameSize(a: RgbImage, b: RgbImage): void {
	if (a.width !== b.width || a.height !== b.height)
		throw new RangeError(`Pictures of ${a.width}x${a.height} and ${b.width}x${b.height} cannot be compared.`);
}
