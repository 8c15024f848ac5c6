/**
 * Opening a model folder: the manifest first, then the shards one by one, each verified before a tensor of it is seen.
 */
import { existsSync, readdirSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import { setImmediate } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { ModelInfo } from "../../worker/protocol/model-info.ts";
import {
	type Dtype,
	MANIFEST_FILE,
	MAX_MANIFEST_BYTES,
	type Manifest,
	ModelFormatError,
	manifestDigest,
	modelInfo,
	parseManifest,
	type TensorEntry,
} from "./manifest.ts";
import { readPolicies } from "./policies.ts";
import { cachedSource, defaultCache } from "./source/cache.ts";
import { folderSource, type ModelSource, type ReadOptions } from "./source/folder.ts";
import { httpSource } from "./source/http.ts";

/** The models that come with the repository. */
export const MODELS_DIR: string = fileURLToPath(new URL("../models", import.meta.url));

export interface ModelTensor {
	name: string;
	dtype: Dtype;
	shape: number[];
	/** A view of the shard, 4-byte aligned. Copy what must outlive the iteration, or the whole shard stays in memory. */
	bytes: Uint8Array<ArrayBuffer>;
}

export interface ModelFolder {
	/** The folder's path or URL. */
	dir: string;
	manifest: Manifest;
	digest: string;
	info: ModelInfo;
	/** Parsed tokenizer.json, or null for a model without one. */
	tokenizer: unknown;
	/** Every tensor in shard order. Holds two shards: the one at hand and the next. */
	tensors(): AsyncGenerator<ModelTensor, void, void>;
}

/** Reads and checks manifest and tokenizer of a folder. Throws ModelFormatError with nothing left open. */
export async function openModelFolder(dir: string): Promise<ModelFolder> {
	return await openModelSource(folderSource(dir));
}

export const isUrl = (where: string): boolean => /^https?:\/\//.test(where);

/**
 * The same of a bundled model's name, a folder's path, or the http(s) URL of a folder, whose shards are cached on disk.
 * `headers` go with every request.
 */
export async function openModelAt(
	where: string,
	{ headers, ...options }: ReadOptions & { headers?: Record<string, string> } = {},
): Promise<ModelFolder> {
	if (!isUrl(where)) return await openModelSource(folderSource(findModel(where)), options);
	const folder = await openModelSource(cachedSource(httpSource(where, { headers }), defaultCache()), options);
	// An address that names a digest, as an edge gives it, is good for that model alone.
	const named = /sha256:[0-9a-f]{64}/.exec(new URL(where).pathname)?.[0] ?? folder.digest;
	if (named !== folder.digest)
		throw new ModelFormatError(
			`${folder.dir} holds another model than its address names: ${folder.digest}. Publish the model again.`,
		);
	return folder;
}

export async function openModelSource(source: ModelSource, options: ReadOptions = {}): Promise<ModelFolder> {
	const bytes = await source.small(MANIFEST_FILE, MAX_MANIFEST_BYTES, options.signal);
	const manifest = parseManifest(new TextDecoder().decode(bytes), `${source.label}/${MANIFEST_FILE}`);
	const digest = manifestDigest(bytes);
	const tokenizer =
		manifest.tokenizer &&
		parseTokenizer(
			await source.verified(manifest.tokenizer, { signal: options.signal }),
			`${source.label}/${manifest.tokenizer.file}`,
		);
	const bare = modelInfo(manifest, digest);
	const policies = await readPolicies(source, bare, options.signal);
	const info = policies ? { ...bare, calibration: policies.calibration, trades: policies.trades } : bare;
	return {
		dir: source.label,
		manifest,
		digest,
		info,
		tokenizer,
		tensors: () => readTensors(source, manifest, options),
	};
}

function parseTokenizer(bytes: Uint8Array, path: string): unknown {
	try {
		return JSON.parse(new TextDecoder().decode(bytes));
	} catch (error) {
		throw new ModelFormatError(`${path} is not JSON: ${(error as Error).message}`);
	}
}

/**
 * While the tensors of one shard are used, the next shard comes: between two tensors, whatever else waits has its turn.
 */
async function* readTensors(
	source: ModelSource,
	manifest: Manifest,
	{ signal, progress }: ReadOptions,
): AsyncGenerator<ModelTensor, void, void> {
	const { tensors, shards } = manifest;
	const byShard: TensorEntry[][] = shards.map(() => []);
	for (const tensor of tensors) byShard[tensor.shard].push(tensor);
	const left = new AbortController();
	const read = (index: number): Promise<Uint8Array<ArrayBuffer>> | null => {
		if (index === shards.length) return null;
		const reading = source.verified(shards[index], {
			signal: signal ? AbortSignal.any([signal, left.signal]) : left.signal,
			progress,
		});
		// Awaited when its turn comes; until then its failure must not end the process.
		reading.catch(() => {});
		return reading;
	};
	try {
		let next = read(0);
		for (const [index, list] of byShard.entries()) {
			const data = (await next) as Uint8Array<ArrayBuffer>;
			next = read(index + 1);
			list.sort((a, b) => a.offset - b.offset);
			for (const { name, dtype, shape, offset, bytes } of list) {
				yield { name, dtype, shape, bytes: data.subarray(offset, offset + bytes) };
				await setImmediate();
			}
		}
	} finally {
		left.abort();
	}
}

/** Names of the models that come with the repository. */
export function bundledModels(): string[] {
	if (!existsSync(MODELS_DIR)) return [];
	return readdirSync(MODELS_DIR)
		.filter((name) => existsSync(join(MODELS_DIR, name, MANIFEST_FILE)))
		.sort();
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
