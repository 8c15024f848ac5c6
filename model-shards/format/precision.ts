/**
 * Numbers from one type to another. I8 and I4 are symmetric whole numbers in groups of `group` along k, the last side:
 * value = whole * scale of its group, wholes in [-127, 127] or [-7, 7], scales F16. Two I4 share a byte, the earlier in
 * the low half, in two's complement, so that a little-endian u32 holds eight neighbours from its lowest bits up.
 */
import { ModelFormatError } from "./errors.ts";

export const PRECISIONS = ["f32", "f16", "int8", "int4"] as const;
export type Precision = (typeof PRECISIONS)[number];

export const FLOATS: ReadonlySet<string> = new Set(["F64", "F32", "F16", "BF16"]);

/** Largest whole number of each type. */
const LARGEST = { I8: 127, I4: 7 } as const;
export type Whole = keyof typeof LARGEST;

/** Bytes of a floating type as f32; F64 is rounded, the others are exact. `bytes` begins its own buffer. */
export function toF32(dtype: string, bytes: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
	const { buffer, byteOffset, byteLength } = bytes;
	switch (dtype) {
		case "F32":
			return new Float32Array(buffer, byteOffset, byteLength / 4);
		case "F64":
			return new Float32Array(new Float64Array(buffer, byteOffset, byteLength / 8));
		case "F16":
			return new Float32Array(new Float16Array(buffer, byteOffset, byteLength / 2));
		case "BF16": {
			const bits = Uint32Array.from(new Uint16Array(buffer, byteOffset, byteLength / 2));
			for (let i = 0; i < bits.length; i++) bits[i] <<= 16;
			return new Float32Array(bits.buffer);
		}
		default:
			throw new RangeError(`${dtype} is not a floating type.`);
	}
}

/** To the nearest f16. Throws where a value is too large for it; `name` stands in the error. */
export function toF16(values: Float32Array, name: string): Uint8Array<ArrayBuffer> {
	const halves = new Float16Array(values);
	const bits = new Uint16Array(halves.buffer);
	for (let i = 0; i < bits.length; i++) {
		if ((bits[i] & 0x7c00) === 0x7c00)
			throw new ModelFormatError(`Tensor ${name} holds ${values[i]}, which F16 cannot. Import it with --dtype f32.`);
	}
	return new Uint8Array(halves.buffer);
}

/** Whole groups to packed numbers and one f16 scale a group. */
export function quantize(
	values: Float32Array,
	dtype: Whole,
	group: number,
	name: string,
): { packed: Uint8Array<ArrayBuffer>; scales: Float16Array<ArrayBuffer> } {
	const largest = LARGEST[dtype];
	const wholes = new Int8Array(values.length);
	const scales = new Float16Array(values.length / group);
	for (let g = 0; g < scales.length; g++) {
		const end = (g + 1) * group;
		let peak = 0;
		for (let i = g * group; i < end; i++) {
			const size = Math.abs(values[i]);
			// NaN stays once it is there.
			if (size > peak || Number.isNaN(size)) peak = size;
		}
		scales[g] = peak / largest;
		const scale = scales[g];
		if (!Number.isFinite(scale))
			throw new ModelFormatError(
				`Tensor ${name} holds ${peak}, which ${dtype} with F16 scales cannot. Import it with --dtype f32.`,
			);
		if (scale === 0) continue;
		for (let i = g * group; i < end; i++)
			wholes[i] = Math.max(-largest, Math.min(largest, Math.round(values[i] / scale)));
	}
	return { packed: dtype === "I8" ? new Uint8Array(wholes.buffer) : pack4(wholes), scales };
}

function pack4(wholes: Int8Array): Uint8Array<ArrayBuffer> {
	const packed = new Uint8Array(wholes.length / 2);
	for (let i = 0; i < packed.length; i++) packed[i] = (wholes[2 * i] & 15) | (wholes[2 * i + 1] << 4);
	return packed;
}

/** The values that packed numbers and their scales stand for. */
export function dequantize(
	packed: Uint8Array,
	scales: Float16Array,
	dtype: Whole,
	group: number,
): Float32Array<ArrayBuffer> {
	const values = new Float32Array(dtype === "I8" ? packed.length : packed.length * 2);
	for (let i = 0; i < values.length; i++) {
		const whole = dtype === "I8" ? (packed[i] << 24) >> 24 : (packed[i >> 1] << (i % 2 === 0 ? 28 : 24)) >> 28;
		values[i] = whole * scales[Math.floor(i / group)];
	}
	return values;
}
