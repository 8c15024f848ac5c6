/** A model folder of this machine. */
import { join } from "node:path";
import { ModelFormatError } from "../errors.ts";
import { openFile, readExactly, readVerified } from "./files.ts";
import type { ModelSource } from "./source.ts";

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
