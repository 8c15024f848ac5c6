/**
 * Published models in the bucket: what lies there under which key, read under limits. docs/models.md has the layout.
 */
import {
	type FileEntry,
	fileKey,
	MANIFEST_FILE,
	MAX_MANIFEST_BYTES,
	ManifestFiles,
	ModelName,
	manifestHash,
	NamedModel,
	nameKey,
	POLICIES_FILE,
	policiesKey,
} from "../protocol/model-files.ts";
import { Digest } from "../protocol/plan.ts";
import { ApiError } from "./http/errors.ts";

/** Where a file of a model lies, and what is known of it beforehand. */
export interface PublishedFile {
	key: string;
	/** Of what never changes. */
	sha256?: string;
	bytes?: number;
}

interface PublishedModel {
	/** By name. */
	files: ReadonlyMap<string, PublishedFile>;
	tokenizer: FileEntry | null;
}

const MAX_NAME_BYTES = 4096;
/** T5's and CLIP's have less; larger ones would not leave an isolate its memory. */
const MAX_TOKENIZER_BYTES = 4 * 2 ** 20;
const MAX_KEPT = 16;
/** Of the manifests read last. What a digest names never changes. */
const kept = new Map<Digest, PublishedModel>();

/** The digest a model's name stands for, or the digest itself. */
export async function digestOf(bucket: R2Bucket, model: string): Promise<Digest> {
	if (Digest.safeParse(model).success) return model;
	const text = ModelName.safeParse(model).success ? await smallText(bucket, nameKey(model), MAX_NAME_BYTES) : null;
	if (text === null)
		throw new ApiError(
			404,
			"model_not_published",
			`No model "${model.slice(0, 80)}" is published here. npx firstlight publish puts one here.`,
			{ param: "model" },
		);
	const named = NamedModel.safeParse(parsed(text));
	if (!named.success) throw damaged(model);
	return named.data.digest;
}

/** A file that the model's manifest lists, the manifest, or what was measured of the model. */
export async function fileOf(bucket: R2Bucket, digest: Digest, file: string): Promise<PublishedFile> {
	const { files } = await modelOf(bucket, digest);
	const found = files.get(file);
	if (!found) throw fileNotFound(file);
	return found;
}

/**
 * Where the tokenizer of a model lies; undefined where the model is not published here, has none, or has a large one.
 */
export async function tokenizerFileOf(bucket: R2Bucket, digest: Digest): Promise<FileEntry | undefined> {
	if (!kept.has(digest) && (await bucket.head(fileKey(manifestHash(digest)))) === null) return undefined;
	const { tokenizer } = await modelOf(bucket, digest);
	return tokenizer && tokenizer.bytes <= MAX_TOKENIZER_BYTES ? tokenizer : undefined;
}

/** What the file holds, parsed; undefined where it is not there or no JSON. */
export async function tokenizerIn(bucket: R2Bucket, { sha256 }: FileEntry): Promise<unknown> {
	return parsed((await smallText(bucket, fileKey(sha256), MAX_TOKENIZER_BYTES)) ?? "");
}

async function modelOf(bucket: R2Bucket, digest: Digest): Promise<PublishedModel> {
	const known = kept.get(digest);
	if (known) return known;
	const sha256 = manifestHash(digest);
	const text = await smallText(bucket, fileKey(sha256), MAX_MANIFEST_BYTES);
	if (text === null)
		throw new ApiError(
			404,
			"model_not_published",
			`No model ${digest} is published here. npx firstlight publish puts one here.`,
			{ param: "model" },
		);
	const manifest = ManifestFiles.safeParse(parsed(text));
	if (!manifest.success) throw damaged(digest);
	const { tokenizer, shards } = manifest.data;
	const files = new Map<string, PublishedFile>(
		[...shards, ...(tokenizer ? [tokenizer] : [])].map(({ file, ...entry }) => [
			file,
			{ key: fileKey(entry.sha256), ...entry },
		]),
	);
	const model = { files, tokenizer };
	files.set(MANIFEST_FILE, { key: fileKey(sha256), sha256 });
	files.set(POLICIES_FILE, { key: policiesKey(sha256) });
	if (kept.size === MAX_KEPT) kept.delete(kept.keys().next().value as Digest);
	kept.set(digest, model);
	return model;
}

async function smallText(bucket: R2Bucket, key: string, limit: number): Promise<string | null> {
	const object = await bucket.get(key);
	if (object === null) return null;
	if (object.size > limit) {
		await object.body.cancel();
		throw damaged(key);
	}
	return new TextDecoder().decode(await object.arrayBuffer());
}

function parsed(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}

export function fileNotFound(file: string): ApiError {
	return new ApiError(
		404,
		"file_not_found",
		`The model has no file "${file.slice(0, 128)}". Its manifest.json lists its files.`,
		{ param: "file" },
	);
}

export function damaged(what: string): ApiError {
	return new ApiError(500, "model_damaged", `What is published as ${what} is damaged. Publish the model again.`, {
		headers: { "x-should-retry": "false" },
	});
}
