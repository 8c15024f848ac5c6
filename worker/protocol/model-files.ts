/** A model's files as they are stored and delivered: names, sizes and hashes, and where they lie in a bucket. */
import { z } from "zod";
import { Digest } from "./plan.ts";

export const MANIFEST_FILE = "manifest.json";
/**
 * What was measured of the model. Beside the manifest, but not of the model's identity: it may be there, and be
 * replaced.
 */
export const POLICIES_FILE = "policies.json";
export const MAX_MANIFEST_BYTES = 16 * 2 ** 20;
/** A loader holds whole shards in host memory, so one shard stays well below what a machine has. */
export const MAX_SHARD_BYTES = 2 ** 30;

export const ModelName = z
	.string()
	.regex(/^[a-z0-9][a-z0-9._-]{0,63}$/, "expected lower-case letters, digits, '.', '_' and '-', 64 at most");
export const PlainFile = z
	.string()
	.regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/, "expected a plain file name without folders");
const Sha256 = z.string().regex(/^[0-9a-f]{64}$/, "expected 64 lower-case hex digits");

export const FileEntry = z.strictObject({
	file: PlainFile,
	bytes: z.int().min(1).max(MAX_SHARD_BYTES),
	sha256: Sha256,
});
export type FileEntry = z.infer<typeof FileEntry>;

/** Null: there is no text, or the text side is given as features or token ids. */
export const TokenizerFile = FileEntry.nullable();
export const ShardFiles = z.array(FileEntry).min(1).max(10_000);

/** What a manifest says of the files beside it, whatever else it says. */
export const ManifestFiles = z.object({ tokenizer: TokenizerFile, shards: ShardFiles });

/**
 * In a bucket every file lies under its SHA-256, the manifest too: equal files are one, and what a digest names never
 * changes.
 */
export const fileKey = (sha256: string): string => `files/${sha256}`;
/** What was measured of the model with this manifest. */
export const policiesKey = (sha256: string): string => `policies/${sha256}.json`;
/**
 * The digest that a model's name stands for now. It is written last, so that a name never leads to a model half there.
 */
export const nameKey = (name: string): string => `models/${name}.json`;
export const NamedModel = z.strictObject({ digest: Digest });

/** SHA-256 of the manifest of a digest. */
export const manifestHash = (digest: Digest): string => digest.slice("sha256:".length);
