/**
 * The half of an import that is the same for every family: find the tensors, compare them with the configuration,
 * stream them into shards.
 */
import type { Described } from "../../worker/families/checkpoints.ts";
import type { Family } from "../../worker/families/family.ts";
import { checkedShape } from "../../worker/families/model.ts";
import { listed, ModelFormatError } from "../format/errors.ts";
import { formed } from "../format/json.ts";
import { type Manifest, ManifestHead } from "../format/manifest.ts";
import { mismatches } from "../format/mismatches.ts";
import { FLOATS, type Precision, quantize, toF16, toF32, type Whole } from "../format/precision.ts";
import { GROUPS, type Group, storedAs } from "../format/stored.ts";
import type { TensorShape } from "../format/tensor-shapes.ts";
import { ELEMENT_BYTES, pieces, type SourceTensor, type TensorSource } from "./formats/tensor-source.ts";
import { type RoundTrip, roundTrip } from "./round-trip.ts";
import { ShardWriter } from "./shard-writer.ts";
import type { Sink } from "./sink.ts";
import { tokenizerJson } from "./tokenizers/tokenizer-json.ts";

const DEFAULT_SHARD_BYTES = 64 * 2 ** 20;
/** Elements converted at a time: a multiple of every group. */
const PIECE_ELEMENTS = 2 ** 21;

/** Where a tensor of the model comes from. */
export interface Found {
	source: TensorSource;
	/** Its name there. */
	sourceName: string;
	tensor: SourceTensor;
}

export interface TensorImport {
	family: Family;
	head: Described;
	found: ReadonlyMap<string, Found>;
	/** Names of `found` that inference does not read; left out: those that the family knows. */
	unused?: RegExp;
	/** Names the checkpoint in errors. */
	label: string;
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
	/** Gets the error of every tensor, read back from `out`, which must be a folder; which it is, and of how many. */
	checked?: (error: RoundTrip, done: number, total: number) => void;
}

/**
 * Streams the wanted tensors out. Refuses, before writing, a checkpoint that lacks one or holds one the configuration
 * does not know.
 */
export async function importTensors(
	{ family, head, found, unused = family.unused, label, tokenizer }: TensorImport,
	options: WriteOptions,
): Promise<Manifest> {
	const { config, wanted, facts } = checkedShape(family, head, `The configuration of ${head.name}`);
	refuseMismatch(found, wanted, unused, label);
	const described = { format: "firstlight-model", version: 1, tokenizer: null, ...head, config };
	const rest = formed(ManifestHead, described, `Model ${head.name} cannot be described`);
	const text = tokenizer ? await tokenizerJson(tokenizer, facts.text?.encoder?.vocabulary) : null;

	await using writer = await ShardWriter.create(options.out, options.shardBytes ?? DEFAULT_SHARD_BYTES);
	const total = wanted.reduce((sum, { name }) => sum + (found.get(name) as Found).tensor.bytes, 0);
	let done = 0;
	for (const tensor of wanted) {
		await writeTensor(writer, tensor, found.get(tensor.name) as Found, options, (bytes) =>
			options.progress?.((done += bytes), total),
		);
	}
	const manifest = await writer.finish({
		...rest,
		tokenizer: text && (await writer.addFile("tokenizer.json", text)),
	});
	if (options.checked && typeof options.out === "string") {
		let read = 0;
		for await (const error of roundTrip(options.out, manifest, found)) options.checked(error, ++read, wanted.length);
	}
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

function refuseMismatch(
	found: ReadonlyMap<string, Found>,
	wanted: readonly TensorShape[],
	unused: RegExp,
	label: string,
): void {
	const held = [...found].map(([name, { tensor }]) => ({ ...tensor, name }));
	const problems = mismatches(held, wanted, {
		typeProblem: (dtype) =>
			FLOATS.has(dtype) ? undefined : `${[...FLOATS].join(", ")} can be imported, convert it first`,
		mayHold: (name) => unused.test(name),
	});
	if (problems.length === 0) return;
	throw new ModelFormatError(`The checkpoint in ${label} does not fit the configuration:\n${listed(problems, 40)}`);
}
