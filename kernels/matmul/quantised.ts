/**
 * Matrices of whole numbers, widened inside `matmul`: value = whole * scale of its group along k, exact in f32 (7 bits
 * by 11), so that a product has the bits of the same product with the values as f32.
 */
import type { Tensor } from "../gpu/tensor.ts";
import { squares } from "./transpose.ts";

/**
 * How the words of a matrix [k, n] are read: four columns of a row a word (8 bits), or of two rows (4 bits), the first
 * in the lowest bits.
 */
export interface Quantised {
	bits: 8 | 4;
	/** Rows that share a scale: a multiple of 4. */
	group: number;
	/** f32 [k / group, n]: f16 would lose small scales where an adapter flushes subnormals. */
	scales: Tensor;
}

/** WGSL in place of the loads of a float matrix: `scaleW` of four rows, then `loadW` of one of them. Needs `p.n4`. */
export const quantisedLoads = (bits: Quantised["bits"], group: number): string => `
fn scaleW(k4: u32, column: u32) -> vec4f { return scales[k4 / ${group / 4}u * p.n4 + column]; }
fn loadW(row: u32, column: u32, scale: vec4f) -> vec4f {
	${
		bits === 8
			? "let word = vec4u(words[row * p.n4 + column]) << vec4u(24, 16, 8, 0);"
			: "let word = vec4u(words[(row >> 1) * p.n4 + column] >> ((row & 1) * 16)) << vec4u(28, 24, 20, 16);"
	}
	return vec4f(bitcast<vec4i>(word) >> vec4u(${32 - bits})) * scale;
}`;

/**
 * An official matrix [n, k] of packed wholes (int8, or two int4 a byte, the first in the low half) as the words above,
 * columns padded to a multiple of 4 with zeros. k is even.
 */
export function quantisedWords(
	packed: Uint8Array,
	bits: Quantised["bits"],
	n: number,
	k: number,
): Uint32Array<ArrayBuffer> {
	const padded = Math.ceil(n / 4) * 4;
	const bytes = new Uint8Array((k * padded * bits) / 8);
	if (bits === 8)
		squares(n, k, (top, bottom, left, right) => {
			for (let row = left; row < right; row++) {
				let to = row * padded + top;
				for (let column = top; column < bottom; column++) bytes[to++] = packed[column * k + row];
			}
		});
	else
		squares(n, k / 2, (top, bottom, left, right) => {
			for (let pair = left; pair < right; pair++) {
				for (let column = top; column < bottom; column++) {
					// Two rows are a byte of the source, and a nibble each of two bytes of the word.
					const two = packed[column * (k / 2) + pair];
					const at = pair * padded + (column >> 2) * 4 + ((column & 3) >> 1);
					const shift = (column & 1) * 4;
					bytes[at] |= (two & 15) << shift;
					bytes[at + 2] |= (two >> 4) << shift;
				}
			}
		});
	return new Uint32Array(bytes.buffer);
}
