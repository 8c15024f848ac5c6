/** Arrays on the device. */

/**
 * A dense row-major array on the device, or a part of a buffer: what every operator takes. Offsets are multiples of
 * 256.
 */
export interface Tensor {
	buffer: GPUBuffer;
	/** Bytes from the start of the buffer. */
	offset: number;
	/** Bytes bound; operators see nothing beyond them. */
	bytes: number;
	shape: readonly number[];
	/** Default f32 (or 32-bit words). */
	dtype?: "f16";
}

/** How many elements a shape has. */
export const elements = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);

/** What a tensor takes on the device: whole words, and 16 bytes at least. */
export const tensorBytes = (shape: readonly number[], dtype?: "f16"): number =>
	Math.max(16, Math.ceil(((dtype === "f16" ? 2 : 4) * elements(shape)) / 4) * 4);
