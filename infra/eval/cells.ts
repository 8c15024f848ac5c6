import type { RgbImage } from "../../worker/engine/types.ts";

/**
 * A picture seen with `side` x `side` cells, [side * side, 3]: every cell the mean of the pixels that it touches, also
 * where there are fewer pixels than cells.
 */
export function cellMeans({ width, height, data }: RgbImage, side: number): Float64Array {
	const out = new Float64Array(side * side * 3);
	for (let y = 0; y < side; y++) {
		const [top, bottom] = [Math.floor((y * height) / side), Math.ceil(((y + 1) * height) / side)];
		for (let x = 0; x < side; x++) {
			const [left, right] = [Math.floor((x * width) / side), Math.ceil(((x + 1) * width) / side)];
			for (let c = 0; c < 3; c++) {
				let sum = 0;
				for (let v = top; v < bottom; v++) for (let u = left; u < right; u++) sum += data[(v * width + u) * 3 + c];
				out[(y * side + x) * 3 + c] = sum / ((bottom - top) * (right - left));
			}
		}
	}
	return out;
}
