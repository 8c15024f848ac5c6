/** Writes a model folder: tensors into shards as they come, the manifest last, so that a cut import is no model. */
import { createHash, type Hash } from "node:crypto";
import { ModelFormatError } from "../format/errors.ts";
import {
	checkManifest,
	type Dtype,
	type FileEntry,
	MANIFEST_FILE,
	MAX_SHARD_BYTES,
	type Manifest,
	type ManifestHead,
	manifestText,
	type Quantization,
	type TensorEntry,
	tensorBytes,
} from "../format/manifest.ts";
import { folderSink, type Sink, type SinkFile } from "./sink.ts";

export interface NewTensor {
	name: string;
	dtype: Dtype;
	shape: number[];
	quantization?: Quantization;
}

export class ShardWriter implements AsyncDisposable {
	readonly tensors: TensorEntry[] = [];
	readonly shards: FileEntry[] = [];
	#sink: Sink;
	#shardBytes: number;
	#open: { file: string; to: SinkFile; hash: Hash; bytes: number } | null = null;

	private constructor(sink: Sink, shardBytes: number) {
		this.#sink = sink;
		this.#shardBytes = shardBytes;
	}

	/** `out`: a folder's path or a sink. An old manifest in it is taken away. */
	static async create(out: string | Sink, shardBytes: number): Promise<ShardWriter> {
		if (!Number.isInteger(shardBytes) || shardBytes < 1 || shardBytes > MAX_SHARD_BYTES) {
			throw new ModelFormatError(`Shards of ${shardBytes} bytes are not possible; choose 1 to ${MAX_SHARD_BYTES}.`);
		}
		const sink = typeof out === "string" ? await folderSink(out) : out;
		await sink.remove(MANIFEST_FILE);
		return new ShardWriter(sink, shardBytes);
	}

	/** Appends a tensor given in pieces. It never spans shards; one larger than a shard gets a shard of its own. */
	async add(
		{ name, dtype, shape, quantization }: NewTensor,
		pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
	): Promise<void> {
		const bytes = tensorBytes(dtype, shape) ?? Infinity;
		if (bytes > MAX_SHARD_BYTES)
			throw new ModelFormatError(`Tensor ${name} has ${bytes} bytes; a shard holds at most ${MAX_SHARD_BYTES}.`);
		if (this.#open && align4(this.#open.bytes) + bytes > this.#shardBytes) await this.#finishShard();
		this.#open ??= await this.#startShard();
		const shard = this.#open;
		await this.#append(new Uint8Array(align4(shard.bytes) - shard.bytes));
		const offset = shard.bytes;
		this.tensors.push({
			name,
			dtype,
			shape,
			shard: this.shards.length,
			offset,
			bytes,
			...(quantization && { quantization }),
		});
		for await (const piece of pieces) await this.#append(piece);
		if (shard.bytes - offset !== bytes)
			throw new ModelFormatError(
				`Tensor ${name} came with ${shard.bytes - offset} bytes; ${dtype} [${shape}] has ${bytes}.`,
			);
	}

	/** Copies a small file into the folder. */
	async addFile(file: string, bytes: Uint8Array): Promise<FileEntry> {
		await this.#sink.put(file, bytes);
		return { file, bytes: bytes.byteLength, sha256: createHash("sha256").update(bytes).digest("hex") };
	}

	/** Closes the last shard and writes the manifest. */
	async finish(head: ManifestHead): Promise<Manifest> {
		await this.#finishShard();
		const manifest: Manifest = { ...head, tensors: this.tensors, shards: this.shards };
		checkManifest(manifest);
		await this.#sink.put(MANIFEST_FILE, manifestText(manifest));
		return manifest;
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.#open?.to.close();
		this.#open = null;
	}

	async #startShard() {
		const file = `shard-${String(this.shards.length).padStart(3, "0")}.bin`;
		return { file, to: await this.#sink.create(file), hash: createHash("sha256"), bytes: 0 };
	}

	async #append(bytes: Uint8Array): Promise<void> {
		if (!this.#open || bytes.byteLength === 0) return;
		const { to, hash } = this.#open;
		const written = to.write(bytes);
		hash.update(bytes);
		this.#open.bytes += bytes.byteLength;
		await written;
	}

	async #finishShard(): Promise<void> {
		if (!this.#open) return;
		const { file, to, hash, bytes } = this.#open;
		this.#open = null;
		await to.close();
		this.shards.push({ file, bytes, sha256: hash.digest("hex") });
	}
}

const align4 = (bytes: number): number => Math.ceil(bytes / 4) * 4;
