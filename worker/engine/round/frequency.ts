/**
 * The share of a latent's energy that is lost when 2 x 2 cells become their mean, at the size of `grid`: how much
 * detail there is. latent: [height * width, channels], brought to the grid by adaptive average pooling. A last odd row
 * or column is averaged alone.
 */
export function highFrequencyShare(
	latent: Float32Array,
	[height, width]: readonly [number, number],
	[rows, columns]: readonly [number, number],
	channels: number,
): number {
	const fine = averaged(latent, width, adaptive(height, rows), adaptive(width, columns), channels);
	const low = averaged(fine, columns, pairs(rows), pairs(columns), channels);
	let [energy, lost] = [0, 0];
	for (let y = 0; y < rows; y++) {
		for (let x = 0; x < columns; x++) {
			for (let c = 0; c < channels; c++) {
				const value = fine[(y * columns + x) * channels + c];
				energy += value ** 2;
				lost += (value - low[((y >> 1) * Math.ceil(columns / 2) + (x >> 1)) * channels + c]) ** 2;
			}
		}
	}
	return energy === 0 ? 0 : lost / energy;
}

/** First cell and end of what becomes one. */
type Window = readonly [number, number];
const adaptive = (cells: number, to: number): Window[] =>
	Array.from({ length: to }, (_, i) => [Math.floor((i * cells) / to), Math.ceil(((i + 1) * cells) / to)]);
const pairs = (cells: number): Window[] =>
	Array.from({ length: Math.ceil(cells / 2) }, (_, i) => [2 * i, Math.min(2 * i + 2, cells)]);

/** [lines.length * columns.length, channels] */
function averaged(
	data: Float32Array | Float64Array,
	width: number,
	lines: readonly Window[],
	columns: readonly Window[],
	channels: number,
): Float64Array {
	const out = new Float64Array(lines.length * columns.length * channels);
	for (const [row, [top, bottom]] of lines.entries()) {
		for (const [column, [left, right]] of columns.entries()) {
			const to = (row * columns.length + column) * channels;
			for (let y = top; y < bottom; y++)
				for (let x = left; x < right; x++)
					for (let c = 0; c < channels; c++) out[to + c] += data[(y * width + x) * channels + c];
			for (let c = 0; c < channels; c++) out[to + c] /= (bottom - top) * (right - left);
		}
	}
	return out;
}
