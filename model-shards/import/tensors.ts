/**
 * The half of an import that is the same for every family: find the tensors, compare them with the configuration,
 * stream them into shards.
 */
import { z } from "zod";
import type { Weighed } from "../format/layout.ts";
import {
	type Dtype,
	type FamilyConfig,
	listed,
	type Manifest,
	ManifestHead,
	ModelFormatError,
	type Quantization,
} from "../format/manifest.ts";
import { FLOATS, type Precision, quantize, toF16, toF32, type Whole } from "../format/precision.ts";
import type { TensorShape } from "../format/tensor-shapes.ts";
import { ELEMENT_BYTES, pieces, type SourceTensor, type TensorSource } from "./formats/tensor-source.ts";
import { type RoundTrip, roundTrip } from "./round-trip.ts";
import { ShardWriter } from "./shard-writer.ts";
import type { Sink } from "./sink.ts";
import { tokenizerJson } from "./tokenizers/tokenizer-json.ts";

export const DEFAULT_SHARD_BYTES = 64 * 2 ** 20;
/** Quantisation groups, in elements along k. */
export const GROUPS = [32, 64] as const;
export type Group = (typeof GROUPS)[number];
/** Elements converted at a time: a multiple of every group. */
const PIECE_ELEMENTS = 2 ** 21;

/** Where a tensor of the model comes from. */
export interface Found {
	source: TensorSource;
	/** Its name there. */
	sourceName: string;
	tensor: SourceTensor;
}

/** A model without its files. */
export type Described = FamilyConfig &
	Pick<Manifest, "name" | "schedules" | "defaultSchedule" | "sampling" | "licence">;

export interface TensorImport {
	found: ReadonlyMap<string, Found>;
	wanted: readonly TensorShape[];
	/** Names of `found` that inference does not read. */
	unused: RegExp;
	/** Names the checkpoint in errors. */
	label: string;
	head: Described;
	/** Path of the text tokenizer, in a format that `tokenizerJson` reads. */
	tokenizer?: string | null;
}

/** How a model is written; the same options for every family. */
export interface WriteOptions {
	/** Folder or sink to write. */
	out: string | Sink;
	shardBytes?: number;
	/** Left out: as the checkpoint has them, what the engine cannot load as F32. */
	dtype?: Precision;
	/** 32 where left out. */
	group?: Group;
	/** Gets bytes of the checkpoint read so far and in all. */
	progress?: (done: number, total: number) => void;
	/** Gets the error of every tensor, read back from `out`, which must be a folder. */
	checked?: (error: RoundTrip) => void;
}

/**
 * Streams the wanted tensors out. Refuses, before writing, a checkpoint that lacks one or holds one the configuration
 * does not know.
 */
export async function importTensors(
	{ found, wanted, unused, label, head, tokenizer }: TensorImport,
	options: WriteOptions,
): Promise<Manifest> {
	refuseMismatch(found, wanted, unused, label);
	const rest = ManifestHead.safeParse({ format: "firstlight-model", version: 1, tokenizer: null, ...head });
	if (!rest.success)
		throw new ModelFormatError(`Model ${head.name} cannot be described:\n${z.prettifyError(rest.error)}`);
	const text = tokenizer ? await tokenizerJson(tokenizer) : null;

	await using writer = await ShardWriter.create(options.out, options.shardBytes ?? DEFAULT_SHARD_BYTES);
	const total = wanted.reduce((sum, { name }) => sum + (found.get(name) as Found).tensor.bytes, 0);
	let done = 0;
	for (const tensor of wanted) {
		await writeTensor(writer, tensor, found.get(tensor.name) as Found, options, (bytes) =>
			options.progress?.((done += bytes), total),
		);
	}
	const manifest = await writer.finish({
		...rest.data,
		tokenizer: text && (await writer.addFile("tokenizer.json", text)),
	});
	if (options.checked && typeof options.out === "string")
		for await (const error of roundTrip(options.out, manifest, found)) options.checked(error);
	return manifest;
}

async function writeTensor(
	writer: ShardWriter,
	tensor: TensorShape,
	{ source, sourceName, tensor: { dtype: from } }: Found,
	options: WriteOptions,
	progress: (bytes: number) => void,
): Promise<void> {
	const { name, shape } = tensor;
	const { dtype, quantization } = storedAs(tensor, from, options.dtype, options.group ?? GROUPS[0]);
	const scales: Uint8Array[] = [];
	const converted = async function* () {
		for await (const piece of ahead(pieces(source, sourceName, PIECE_ELEMENTS * ELEMENT_BYTES[from]))) {
			if (quantization) {
				const made = quantize(toF32(from, piece), dtype as Whole, quantization.group, name);
				scales.push(new Uint8Array(made.scales.buffer));
				yield made.packed;
			} else if (dtype === from) yield piece;
			else if (dtype === "F16") yield toF16(toF32(from, piece), name);
			else yield new Uint8Array(toF32(from, piece).buffer);
			progress(piece.byteLength);
		}
	};
	await writer.add({ name, dtype, shape, quantization }, converted());
	if (quantization)
		await writer.add(
			{ name: quantization.scales, dtype: "F16", shape: [shape[0], shape[1] / quantization.group] },
			scales,
		);
}

/** Reads the next piece while the one before is used. */
async function* ahead<T>(pieces: AsyncGenerator<T, void, void>): AsyncGenerator<T, void, void> {
	try {
		for (let next = pieces.next(); ; ) {
			const { value, done } = await next;
			if (done) return;
			next = pieces.next();
			next.catch(() => {});
			yield value as T;
		}
	} finally {
		await pieces.return();
	}
}

/** What an import of F32 tensors would write in a precision, scales included. */
export function plannedTensors(
	wanted: readonly TensorShape[],
	precision: Precision,
	group: Group = GROUPS[0],
): Weighed[] {
	return wanted.flatMap((tensor): Weighed[] => {
		const { name, shape } = tensor;
		const { dtype, quantization } = storedAs(tensor, "F32", precision, group);
		const entry = { name, shape, dtype };
		return quantization
			? [
					{ ...entry, quantization },
					{ name: quantization.scales, shape: [shape[0], shape[1] / quantization.group], dtype: "F16" },
				]
			: [entry];
	});
}

/** The type a tensor gets in the shards. */
function storedAs(
	{ name, shape, matmul }: TensorShape,
	from: string,
	precision: Precision | undefined,
	group: Group,
): { dtype: Dtype; quantization?: Quantization } {
	switch (precision) {
		case undefined:
			return { dtype: from === "F16" ? "F16" : "F32" };
		case "f32":
			return { dtype: "F32" };
		case "f16":
			return { dtype: "F16" };
		default:
			if (matmul && shape[1] % group === 0)
				return { dtype: precision === "int8" ? "I8" : "I4", quantization: { group, scales: `${name}.scales` } };
			return { dtype: shape.filter((side) => side > 1).length > 1 ? "F16" : "F32" };
	}
}

function refuseMismatch(
	found: ReadonlyMap<string, Found>,
	wanted: readonly TensorShape[],
	unused: RegExp,
	label: string,
): void {
	const problems: string[] = [];
	for (const { name, shape } of wanted) {
		const tensor = found.get(name)?.tensor;
		if (!tensor) problems.push(`${name} is missing`);
		else if (tensor.shape.join() !== shape.join())
			problems.push(`${name} has shape [${tensor.shape}], the configuration asks for [${shape}]`);
		else if (!FLOATS.has(tensor.dtype))
			problems.push(`${name} has type ${tensor.dtype}; ${[...FLOATS].join(", ")} can be imported, convert it first`);
	}
	const known = new Set(wanted.map(({ name }) => name));
	for (const name of found.keys()) {
		if (!known.has(name) && !unused.test(name)) problems.push(`${name} is not part of a model of this configuration`);
	}
	if (problems.length === 0) return;
	throw new ModelFormatError(`The checkpoint in ${label} does not fit the configuration:\n${listed(problems, 40)}`);
}
