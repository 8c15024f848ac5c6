/** Checkpoints of any size made of random numbers, to try imports without the published files. */
import { open } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { ELEMENT_BYTES, pieces, rangeOf, type SourceTensor, type TensorSource } from "./formats/tensor-source.ts";
import { hugeZip, type Op, pickle, tensorOps } from "./formats/testing-pth.ts";

const BLOCK_ELEMENTS = 2 ** 20;

/**
 * Weights of the given shapes, uniform within 0.05 of 0 and the same for the same name. One block of memory, whatever
 * the size.
 */
export function syntheticSource(
	label: string,
	shapes: readonly { name: string; shape: number[] }[],
	dtype: "F32" | "BF16",
): TensorSource {
	const element = ELEMENT_BYTES[dtype];
	const block = randomBlock(dtype);
	const tensors = new Map(
		shapes.map(({ name, shape }): [string, SourceTensor] => [
			name,
			{ dtype, shape, bytes: shape.reduce((a, b) => a * b, element) },
		]),
	);
	const source: TensorSource = {
		label,
		tensors,
		async read(name, start, end) {
			const { from, to } = rangeOf(source, name, start, end);
			const out = new Uint8Array(to - from);
			let at = (crc32(name) * element + from) % block.byteLength;
			for (let done = 0; done < out.byteLength; at = 0) {
				const part = block.subarray(at, at + out.byteLength - done);
				out.set(part, done);
				done += part.byteLength;
			}
			return out;
		},
	};
	return source;
}

function randomBlock(dtype: "F32" | "BF16"): Uint8Array {
	const values = new Float32Array(BLOCK_ELEMENTS);
	let state = 1;
	for (let i = 0; i < values.length; i++) {
		state = (Math.imul(state, 1664525) + 1013904223) | 0;
		values[i] = (state / 2 ** 31) * 0.05;
	}
	return dtype === "F32"
		? new Uint8Array(values.buffer)
		: new Uint8Array(Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16).buffer);
}

/** Writes a source as `torch.save` would write its state_dict, a storage a tensor. */
export async function writePth(path: string, source: TensorSource): Promise<void> {
	const storages = Object.fromEntries(
		[...source.tensors].map(([name, { bytes }], i) => [`archive/data/${i}`, { name, bytes }]),
	);
	const checksums = new Map<string, number>();
	for (const [entry, { name }] of Object.entries(storages)) {
		let checksum = 0;
		for await (const piece of pieces(source, name)) checksum = crc32(piece, checksum);
		checksums.set(entry, checksum);
	}
	const ops = [...source.tensors].flatMap(([name, { dtype, shape }], i): Op[] => [
		["text", name],
		...tensorOps({
			dtype: dtype === "F32" ? "FloatStorage" : "BFloat16Storage",
			key: `${i}`,
			count: product(shape),
			shape,
			strides: shape.map((_, side) => product(shape.slice(side + 1))),
		}),
	]);
	const entries = {
		"archive/data.pkl": pickle(["dict", "mark", ...ops, "setitems"]),
		...Object.fromEntries(Object.entries(storages).map(([entry, { bytes }]) => [entry, bytes])),
	};
	const { parts, holes } = hugeZip(entries, (entry, fields) => {
		fields.crc = checksums.get(entry) ?? fields.crc;
	});
	await using handle = await open(path, "w");
	for (const { at, bytes } of parts) await handle.write(bytes, 0, bytes.length, at);
	for (const [entry, start] of holes) {
		let at = start;
		for await (const piece of pieces(source, storages[entry].name))
			at += (await handle.write(piece, 0, piece.length, at)).bytesWritten;
	}
}

const product = (sides: readonly number[]): number => sides.reduce((a, b) => a * b, 1);
