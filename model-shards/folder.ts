/** Opening a model folder: the manifest first, then the shards one by one, each verified before a tensor of it is seen. */
import { existsSync, readdirSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { ModelInfo } from "../worker/protocol/model-info.ts";
import { openFile, readExactly, readVerified } from "./files.ts";
import { type Dtype, MANIFEST_FILE, MAX_MANIFEST_BYTES, type Manifest, manifestDigest, ModelFormatError, modelInfo, parseManifest, type TensorEntry, unsupported } from "./manifest.ts";

/** The models that come with the repository. */
export const MODELS_DIR: string = fileURLToPath(new URL("./models", import.meta.url));

export interface ModelTensor {
	name: string;
	dtype: Dtype;
	shape: number[];
	/** A view of the shard, 4-byte aligned. Copy what must outlive the iteration, or the whole shard stays in memory. */
	bytes: Uint8Array<ArrayBuffer>;
}

export interface ModelFolder {
	dir: string;
	manifest: Manifest;
	digest: string;
	info: ModelInfo;
	/** Parsed tokenizer.json, or null for a model without one. */
	tokenizer: unknown;
	/** Every tensor in shard order. Holds one shard while iterating, two at most while it moves to the next. */
	tensors(): AsyncGenerator<ModelTensor, void, void>;
}

/** Reads and checks the manifest and the tokenizer. Throws ModelFormatError with nothing left open. */
export async function openModelFolder(dir: string): Promise<ModelFolder> {
	const path = join(dir, MANIFEST_FILE);
	const bytes = await readManifest(path);
	const manifest = parseManifest(new TextDecoder().decode(bytes), path);
	const digest = manifestDigest(bytes);
	const tokenizer = manifest.tokenizer && parseTokenizer(await readVerified(dir, manifest.tokenizer), join(dir, manifest.tokenizer.file));
	return { dir, manifest, digest, info: modelInfo(manifest, digest), tokenizer, tensors: () => readTensors(dir, manifest) };
}

async function readManifest(path: string): Promise<Uint8Array> {
	await using handle = await openFile(path);
	const { size } = await handle.stat();
	if (size > MAX_MANIFEST_BYTES) throw new ModelFormatError(`${path} has ${size} bytes; a manifest has at most ${MAX_MANIFEST_BYTES}.`);
	const bytes = new Uint8Array(size);
	await readExactly(handle, bytes, 0, path);
	return bytes;
}

function parseTokenizer(bytes: Uint8Array, path: string): unknown {
	try {
		return JSON.parse(new TextDecoder().decode(bytes));
	} catch (error) {
		throw new ModelFormatError(`${path} is not JSON: ${(error as Error).message}`);
	}
}

async function* readTensors(dir: string, manifest: Manifest): AsyncGenerator<ModelTensor, void, void> {
	const missing = unsupported(manifest);
	if (missing) throw new ModelFormatError(`The model in ${dir} cannot be loaded by this version of the engine: ${missing}.`);
	const { tensors, shards } = manifest;
	const byShard: TensorEntry[][] = shards.map(() => []);
	for (const tensor of tensors) byShard[tensor.shard].push(tensor);
	for (const [index, shard] of shards.entries()) {
		const data = await readVerified(dir, shard);
		byShard[index].sort((a, b) => a.offset - b.offset);
		for (const { name, dtype, shape, offset, bytes } of byShard[index]) {
			yield { name, dtype, shape, bytes: data.subarray(offset, offset + bytes) };
		}
	}
}

/** Names of the models that come with the repository. */
export function bundledModels(): string[] {
	if (!existsSync(MODELS_DIR)) return [];
	return readdirSync(MODELS_DIR).filter((name) => existsSync(join(MODELS_DIR, name, MANIFEST_FILE))).sort();
}

/** The folder of a bundled model by its name, or of any model by its path. */
export function findModel(nameOrPath: string): string {
	const bundled = bundledModels();
	if (bundled.includes(nameOrPath)) return join(MODELS_DIR, nameOrPath);
	const path = isAbsolute(nameOrPath) ? nameOrPath : resolve(nameOrPath);
	if (nameOrPath !== "" && existsSync(join(path, MANIFEST_FILE))) return path;
	throw new ModelFormatError(
		`There is no model "${nameOrPath}". Bundled models: ${bundled.join(", ") || "none"}. A path must lead to a folder with a ${MANIFEST_FILE}.`,
	);
}
