/** Models of this machine: those that come with the repository, folders, and URLs through the disk's cache. */
import { existsSync, readdirSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type FolderOptions, type ModelFolder, openModelSource } from "../worker/families/folder.ts";
import { ModelFormatError } from "./format/errors.ts";
import { MANIFEST_FILE } from "./format/manifest.ts";
import { cachedSource, defaultCache } from "./format/source/cache.ts";
import { folderSource } from "./format/source/folder.ts";
import { httpSource } from "./format/source/http.ts";

/** The models that come with the repository. */
export const MODELS_DIR: string = fileURLToPath(new URL("models", import.meta.url));

/** The one that is used where none is named; one of the bundled. */
export const DEFAULT_MODEL = "emoji-256";

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
		`There is no model "${nameOrPath}". Bundled models: ${bundled.join(", ") || "none"}. A path must lead to ` +
			`a folder with a ${MANIFEST_FILE}.`,
	);
}

/** Reads and checks manifest and tokenizer of a folder. Throws ModelFormatError with nothing left open. */
export async function openModelFolder(dir: string, options?: FolderOptions): Promise<ModelFolder> {
	return await openModelSource(folderSource(dir), options);
}

export const isUrl = (where: string): boolean => /^https?:\/\//.test(where);

/**
 * The same of a bundled model's name, a folder's path, or the http(s) URL of a folder, whose shards are cached on disk.
 * `headers` go with every request, as long as tensors are read; a function is asked again once they are refused.
 */
export async function openModelAt(
	where: string,
	{
		headers,
		...options
	}: FolderOptions & { headers?: Record<string, string> | (() => Promise<Record<string, string>>) } = {},
): Promise<ModelFolder> {
	if (!isUrl(where)) return await openModelFolder(findModel(where), options);
	const folder = await openModelSource(cachedSource(httpSource(where, { headers }), defaultCache()), options);
	// An address that names a digest, as an edge gives it, is good for that model alone.
	const named = /sha256:[0-9a-f]{64}/.exec(new URL(where).pathname)?.[0] ?? folder.digest;
	if (named !== folder.digest)
		throw new ModelFormatError(
			`${folder.dir} holds another model than its address names: ${folder.digest}. Publish the model again.`,
		);
	return folder;
}
