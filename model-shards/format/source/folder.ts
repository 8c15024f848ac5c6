/** Where a model folder is read from: a folder of this machine, or a URL. */
import { join } from "node:path";
import { type FileEntry, ModelFormatError } from "../manifest.ts";
import { openFile, readExactly, readVerified } from "./files.ts";

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

export function folderSource(dir: string): ModelSource {
	return {
		label: dir,
		async small(file, maxBytes) {
			const path = join(dir, file);
			await using handle = await openFile(path);
			const { size } = await handle.stat();
			if (size > maxBytes) throw new ModelFormatError(`${path} has ${size} bytes; at most ${maxBytes} are read.`);
			const bytes = new Uint8Array(size);
			await readExactly(handle, bytes, 0, path);
			return bytes;
		},
		async verified(entry, { signal, progress } = {}) {
			signal?.throwIfAborted();
			const bytes = await readVerified(dir, entry);
			progress?.(bytes.byteLength);
			return bytes;
		},
	};
}
