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

/** Offsets of what is bound are multiples of this. */
const ALIGNMENT = 256;

/** Bytes of a row of a tensor [rows, ..]. */
const rowBytes = ({ shape, dtype }: Tensor): number => elements(shape.slice(1)) * (dtype === "f16" ? 2 : 4);

/** Whether rows of a tensor [rows, ..] can be bound from this one on. */
export const bindsFrom = (tensor: Tensor, row: number): boolean => (row * rowBytes(tensor)) % ALIGNMENT === 0;

/** Rows `first` to `first + count` of a tensor [rows, ..]. Throws RangeError where they cannot be bound. */
export function rowsFrom(tensor: Tensor, first: number, count: number): Tensor {
	const bytes = rowBytes(tensor);
	if (!bindsFrom(tensor, first)) throw new RangeError(`Rows of ${bytes} bytes cannot be bound from row ${first} on.`);
	const shape = [count, ...tensor.shape.slice(1)];
	// Where a device that runs nothing stands for one, tensors have fewer bytes than their shape asks for.
	if (tensor.bytes < tensor.shape[0] * bytes) return { ...tensor, bytes: Math.min(count * bytes, tensor.bytes), shape };
	return { ...tensor, offset: tensor.offset + first * bytes, bytes: count * bytes, shape };
}

/** What a tensor takes on the device: whole words, and 16 bytes at least. */
export const tensorBytes = (shape: readonly number[], dtype?: "f16"): number =>
	Math.max(16, Math.ceil(((dtype === "f16" ? 2 : 4) * elements(shape)) / 4) * 4);
