/** Where a model folder is read from: a folder of this machine, or a URL. */
import type { FileEntry } from "../manifest.ts";

export interface ReadOptions {
	signal?: AbortSignal;
	/** Gets how many bytes came since the last call; negative where some must come again. */
	progress?: (bytes: number) => void;
}

export interface ModelSource {
	/** Named in errors. */
	label: string;
	/** A file of at most `maxBytes`, unchecked: the manifest. Throws MissingFileError where there is none. */
	small(file: string, maxBytes: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
	/** A file the manifest lists, once its size and SHA-256 are right. Throws ModelFormatError when they stay wrong. */
	verified(entry: FileEntry, options?: ReadOptions): Promise<Uint8Array<ArrayBuffer>>;
}
