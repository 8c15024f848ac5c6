/** Official matrices [n, k], a row an output, as the kernels read them: [k, n], both padded to multiples of 4 by 0. */

/** A square of this many numbers a side stays in a processor's caches, read and written. */
const SIDE = 64;

/** All of a matrix, a square at a time: row by row, every write would go to another page. */
export function squares(
	rows: number,
	columns: number,
	visit: (top: number, bottom: number, left: number, right: number) => void,
): void {
	for (let top = 0; top < rows; top += SIDE)
		for (let left = 0; left < columns; left += SIDE)
			visit(top, Math.min(rows, top + SIDE), left, Math.min(columns, left + SIDE));
}

export function transposeWeight(weight: Float32Array, n: number, k: number): Float32Array<ArrayBuffer> {
	const out = new Float32Array(padded(k) * padded(n));
	transpose(weight, out, n, k);
	return out;
}

/** The same of halves, whose bits are moved as they are. */
export function transposeHalves(weight: Float16Array, n: number, k: number): Float16Array<ArrayBuffer> {
	const out = new Float16Array(padded(k) * padded(n));
	transpose(bitsOf(weight), bitsOf(out), n, k);
	return out;
}

function transpose<T extends Float32Array | Uint16Array>(from: T, to: T, n: number, k: number): void {
	const wide = padded(n);
	squares(n, k, (top, bottom, left, right) => {
		for (let column = left; column < right; column++) {
			let at = column * wide + top;
			for (let row = top; row < bottom; row++) to[at++] = from[row * k + column];
		}
	});
}

const padded = (count: number): number => Math.ceil(count / 4) * 4;

const bitsOf = ({ buffer, byteOffset, length }: Float16Array): Uint16Array =>
	new Uint16Array(buffer, byteOffset, length);
