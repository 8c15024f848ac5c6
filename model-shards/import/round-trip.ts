/** How far a written model is from its checkpoint, tensor by tensor: what `import --check` prints. */
import { join } from "node:path";
import type { Manifest, TensorEntry } from "../format/manifest.ts";
import { dequantize, toF32, type Whole } from "../format/precision.ts";
import { openFile, readExactly } from "../format/source/files.ts";
import { ELEMENT_BYTES } from "./formats/tensor-source.ts";
import type { Found } from "./tensors.ts";

export interface RoundTrip {
	name: string;
	dtype: string;
	/** Largest |stored - original|, and that over the largest |original|. */
	max: number;
	relative: number;
	/** Root of the sum of squared errors over the sum of squares. */
	rms: number;
}

/** A multiple of every group. */
const PIECE_ELEMENTS = 2 ** 20;

/**
 * Reads the model in `dir` back in pieces and compares it with the checkpoint it was made of. Scales are checked with
 * their matrix.
 */
export async function* roundTrip(
	dir: string,
	{ tensors, shards }: Manifest,
	found: ReadonlyMap<string, Found>,
): AsyncGenerator<RoundTrip, void, void> {
	const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
	const stored = async (tensor: TensorEntry, from: number, to: number): Promise<Uint8Array<ArrayBuffer>> => {
		const path = join(dir, shards[tensor.shard].file);
		await using handle = await openFile(path);
		const bytes = new Uint8Array(to - from);
		await readExactly(handle, bytes, tensor.offset + from, path);
		return bytes;
	};
	for (const tensor of tensors) {
		const original = found.get(tensor.name);
		if (!original) continue;
		const { name, dtype, shape, bytes, quantization } = tensor;
		const scalesTensor = quantization && (byName.get(quantization.scales) as TensorEntry);
		const scales = scalesTensor && new Float16Array((await stored(scalesTensor, 0, scalesTensor.bytes)).buffer);
		const elements = shape.reduce((a, b) => a * b, 1);
		const sums = { error: 0, peak: 0, squaredError: 0, squared: 0 };
		for (let from = 0; from < elements; from += PIECE_ELEMENTS) {
			const to = Math.min(elements, from + PIECE_ELEMENTS);
			const piece = await stored(tensor, (bytes / elements) * from, (bytes / elements) * to);
			const values =
				scales && quantization
					? dequantize(piece, scales.subarray(from / quantization.group), dtype as Whole, quantization.group)
					: toF32(dtype, piece);
			add(sums, values, await reference(original, from, to));
		}
		yield {
			name,
			dtype,
			max: sums.error,
			relative: sums.error / (sums.peak || 1),
			rms: Math.sqrt(sums.squaredError / (sums.squared || 1)),
		};
	}
}

async function reference(
	{ source, sourceName, tensor: { dtype } }: Found,
	from: number,
	to: number,
): Promise<Float32Array | Float64Array> {
	const element = ELEMENT_BYTES[dtype];
	const bytes = await source.read(sourceName, from * element, to * element);
	return dtype === "F64" ? new Float64Array(bytes.buffer) : toF32(dtype, bytes);
}

function add(
	sums: { error: number; peak: number; squaredError: number; squared: number },
	values: Float32Array,
	reference: Float32Array | Float64Array,
): void {
	let { error, peak, squaredError, squared } = sums;
	for (let i = 0; i < values.length; i++) {
		const difference = values[i] - reference[i];
		error = Math.max(error, Math.abs(difference));
		peak = Math.max(peak, Math.abs(reference[i]));
		squaredError += difference * difference;
		squared += reference[i] * reference[i];
	}
	Object.assign(sums, { error, peak, squaredError, squared });
}
