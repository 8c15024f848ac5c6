/**
 * Opening a model folder wherever it lies: the manifest first, then the shards one by one, each verified before a
 * tensor of it is seen. What the model is, its family says (worker/families/folder.ts).
 */
import { parseJson } from "./json.ts";
import {
	type Dtype,
	MANIFEST_FILE,
	MAX_MANIFEST_BYTES,
	type Manifest,
	manifestDigest,
	parseManifest,
} from "./manifest.ts";
import type { ModelSource, ReadOptions } from "./source/source.ts";
import { turn } from "./turn.ts";

export interface ModelTensor {
	name: string;
	dtype: Dtype;
	shape: number[];
	/** A view of the shard, 4-byte aligned. Copy what must outlive the iteration, or the whole shard stays in memory. */
	bytes: Uint8Array<ArrayBuffer>;
}

export interface Folder {
	/** The folder's path or URL. */
	dir: string;
	manifest: Manifest;
	digest: string;
	/** Parsed tokenizer.json, or null for a model without one. */
	tokenizer: unknown;
	/**
	 * Every tensor in shard order, or those whose names are wanted: shards without any are not read. Holds two shards:
	 * the one at hand and the next.
	 */
	tensors(wants?: (name: string) => boolean): AsyncGenerator<ModelTensor, void, void>;
}

/** Reads and checks manifest and tokenizer. Throws ModelFormatError with nothing left open. */
export async function openFolder(source: ModelSource, options: ReadOptions = {}): Promise<Folder> {
	const bytes = await source.small(MANIFEST_FILE, MAX_MANIFEST_BYTES, options.signal);
	const manifest = parseManifest(new TextDecoder().decode(bytes), `${source.label}/${MANIFEST_FILE}`);
	const digest = await manifestDigest(bytes);
	const tokenizer =
		manifest.tokenizer &&
		parseJson(
			await source.verified(manifest.tokenizer, { signal: options.signal }),
			`${source.label}/${manifest.tokenizer.file}`,
		);
	return {
		dir: source.label,
		manifest,
		digest,
		tokenizer,
		tensors: (wants) => readTensors(source, manifest, options, wants),
	};
}

/**
 * While the tensors of one shard are used, the next shard comes: between two tensors, whatever else waits has its turn.
 */
async function* readTensors(
	source: ModelSource,
	manifest: Manifest,
	{ signal, progress }: ReadOptions,
	wants: (name: string) => boolean = () => true,
): AsyncGenerator<ModelTensor, void, void> {
	const byShard = Map.groupBy(
		manifest.tensors.filter(({ name }) => wants(name)),
		({ shard }) => shard,
	);
	const shards = [...byShard].sort(([a], [b]) => a - b);
	const left = new AbortController();
	const read = (index: number): Promise<Uint8Array<ArrayBuffer>> | null => {
		if (index === shards.length) return null;
		const [shard] = shards[index];
		const reading = source.verified(manifest.shards[shard], {
			signal: signal ? AbortSignal.any([signal, left.signal]) : left.signal,
			progress,
		});
		// Awaited when its turn comes; until then its failure must not end the process.
		reading.catch(() => {});
		return reading;
	};
	try {
		let next = read(0);
		for (const [index, [, list]] of shards.entries()) {
			const data = (await next) as Uint8Array<ArrayBuffer>;
			next = read(index + 1);
			for (const { name, dtype, shape, offset, bytes } of list.toSorted((a, b) => a.offset - b.offset)) {
				yield { name, dtype, shape, bytes: data.subarray(offset, offset + bytes) };
				await turn();
			}
		}
	} finally {
		left.abort();
	}
}
