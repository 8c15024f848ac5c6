/** Writes a model folder: tensors into shards as they come, the manifest last, so that a cut import is no model. */
import { createHash, type Hash } from "node:crypto";
import { mkdir, open, rm, writeFile } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { checkManifest, type Dtype, type FileEntry, MANIFEST_FILE, type Manifest, type ManifestHead, manifestText, MAX_SHARD_BYTES, ModelFormatError, type TensorEntry } from "./manifest.ts";

export class ShardWriter implements AsyncDisposable {
	readonly tensors: TensorEntry[] = [];
	readonly shards: FileEntry[] = [];
	#dir: string;
	#shardBytes: number;
	#open: { file: string; handle: FileHandle; hash: Hash; bytes: number } | null = null;

	private constructor(dir: string, shardBytes: number) {
		this.#dir = dir;
		this.#shardBytes = shardBytes;
	}

	/** Makes the folder and takes away an old manifest. */
	static async create(dir: string, shardBytes: number): Promise<ShardWriter> {
		if (!Number.isInteger(shardBytes) || shardBytes < 1 || shardBytes > MAX_SHARD_BYTES) {
			throw new ModelFormatError(`Shards of ${shardBytes} bytes are not possible; choose 1 to ${MAX_SHARD_BYTES}.`);
		}
		await mkdir(dir, { recursive: true });
		await rm(join(dir, MANIFEST_FILE), { force: true });
		return new ShardWriter(dir, shardBytes);
	}

	/** Appends a tensor. It never spans shards; one larger than a shard gets a shard of its own. */
	async add(name: string, dtype: Dtype, shape: number[], bytes: Uint8Array): Promise<void> {
		if (bytes.byteLength > MAX_SHARD_BYTES) throw new ModelFormatError(`Tensor ${name} has ${bytes.byteLength} bytes; a shard holds at most ${MAX_SHARD_BYTES}.`);
		if (this.#open && align4(this.#open.bytes) + bytes.byteLength > this.#shardBytes) await this.#finishShard();
		this.#open ??= await this.#startShard();
		const shard = this.#open;
		await this.#append(new Uint8Array(align4(shard.bytes) - shard.bytes));
		this.tensors.push({ name, dtype, shape, shard: this.shards.length, offset: shard.bytes, bytes: bytes.byteLength });
		await this.#append(bytes);
	}

	/** Copies a small file into the folder. */
	async addFile(file: string, bytes: Uint8Array): Promise<FileEntry> {
		await writeFile(join(this.#dir, file), bytes);
		return { file, bytes: bytes.byteLength, sha256: createHash("sha256").update(bytes).digest("hex") };
	}

	/** Closes the last shard and writes the manifest. */
	async finish(head: ManifestHead): Promise<Manifest> {
		await this.#finishShard();
		const manifest: Manifest = { ...head, tensors: this.tensors, shards: this.shards };
		checkManifest(manifest);
		await writeFile(join(this.#dir, MANIFEST_FILE), manifestText(manifest));
		return manifest;
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.#open?.handle.close();
		this.#open = null;
	}

	async #startShard() {
		const file = `shard-${String(this.shards.length).padStart(3, "0")}.bin`;
		return { file, handle: await open(join(this.#dir, file), "w"), hash: createHash("sha256"), bytes: 0 };
	}

	async #append(bytes: Uint8Array): Promise<void> {
		if (!this.#open || bytes.byteLength === 0) return;
		await this.#open.handle.writeFile(bytes);
		this.#open.hash.update(bytes);
		this.#open.bytes += bytes.byteLength;
	}

	async #finishShard(): Promise<void> {
		if (!this.#open) return;
		const { file, handle, hash, bytes } = this.#open;
		this.#open = null;
		await handle.close();
		this.shards.push({ file, bytes, sha256: hash.digest("hex") });
	}
}

const align4 = (bytes: number): number => Math.ceil(bytes / 4) * 4;
