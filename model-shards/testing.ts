/** Small made-up checkpoints for the tests beside this file. */
import { writeFile } from "node:fs/promises";
import type { Described } from "../worker/families/checkpoints.ts";
import type { InfinityConfig } from "../worker/families/infinity/config.ts";
import { infinityTensors } from "../worker/families/infinity/tensors.ts";

export interface RawTensor {
	dtype: string;
	shape: number[];
	bytes: Uint8Array;
}

/** What a safetensors header says of each name, which is nothing sure where a test has been at it. */
export type Header = Record<string, Record<string, unknown>>;

export function safetensorsBytes(
	tensors: Record<string, RawTensor>,
	edit: (header: Header) => void = () => {},
): Uint8Array {
	const header: Header = { __metadata__: { format: "pt" } };
	let offset = 0;
	for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
		header[name] = { dtype, shape, data_offsets: [offset, (offset += bytes.byteLength)] };
	}
	edit(header);
	const text = new TextEncoder().encode(JSON.stringify(header));
	const file = new Uint8Array(8 + text.byteLength + offset);
	new DataView(file.buffer).setBigUint64(0, BigInt(text.byteLength), true);
	file.set(text, 8);
	let at = 8 + text.byteLength;
	for (const { bytes } of Object.values(tensors)) {
		file.set(bytes, at);
		at += bytes.byteLength;
	}
	return file;
}

export const writeSafetensors = (path: string, tensors: Record<string, RawTensor>) =>
	writeFile(path, safetensorsBytes(tensors));

export const SMALL: InfinityConfig = {
	depth: 2,
	width: 8,
	heads: 2,
	ffn: 16,
	chunkBlocks: 1,
	textChannels: 128,
	textMaxTokens: 4,
	poolHeads: 1,
	bits: 3,
	normEps: 1e-6,
	ropeReach: { "1:1": [64, 64] },
	vae: { baseChannels: 4, multipliers: [1, 2], residualBlocks: 1, normGroups: 4, normEps: 1e-6 },
	textEncoder: null,
};

/** The model of that shape. */
export const SMALL_HEAD: Described<InfinityConfig> = {
	name: "small",
	family: "infinity",
	config: SMALL,
	schedules: {
		"1:1": {
			grids: [
				[1, 1],
				[2, 2],
			],
			image: { height: 4, width: 4 },
		},
	},
	defaultSchedule: "1:1",
	sampling: { guidance: 3, tau: 0.5, topK: 0, topP: 0 },
	licence: "none",
};

/**
 * Official names of both files of a checkpoint of `SMALL`, every byte telling its tensor; the odd-sized ones test
 * alignment.
 */
export function smallCheckpoint(dtype: "F16" | "F32" = "F16"): {
	weights: Record<string, RawTensor>;
	vae: Record<string, RawTensor>;
} {
	const weights: Record<string, RawTensor> = {};
	const vae: Record<string, RawTensor> = {};
	for (const [i, { name, shape }] of infinityTensors(SMALL).entries()) {
		const bytes = new Uint8Array(shape.reduce((a, b) => a * b, dtype === "F16" ? 2 : 4)).fill((i % 100) + 1);
		const [, file, official] = /^(transformer|vae)\.(.*)$/.exec(name) as RegExpExecArray;
		(file === "vae" ? vae : weights)[official] = { dtype, shape, bytes };
	}
	weights["block_chunks.0.module.0.sa.zero_k_bias"] = {
		dtype,
		shape: [1],
		bytes: new Uint8Array(dtype === "F16" ? 2 : 4),
	};
	vae["encoder.conv_in.conv.bias"] = { dtype: "F32", shape: [1], bytes: new Uint8Array(4) };
	vae["quantize.lfq.mask"] = { dtype: "I64", shape: [3], bytes: new Uint8Array(24) };
	return { weights, vae };
}
