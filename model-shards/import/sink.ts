/** Where an import writes: a folder, or nowhere, to try an import for its shapes and hashes. */
import type { FileHandle } from "node:fs/promises";
import { mkdir, open, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

export interface SinkFile {
	write(bytes: Uint8Array): Promise<void>;
	close(): Promise<void>;
}

export interface Sink {
	/** A file written piece by piece. */
	create(file: string): Promise<SinkFile>;
	/** A small file at once. */
	put(file: string, bytes: Uint8Array | string): Promise<void>;
	remove(file: string): Promise<void>;
}

/** Makes the folder. */
export async function folderSink(dir: string): Promise<Sink> {
	await mkdir(dir, { recursive: true });
	return {
		async create(file) {
			const handle = await open(join(dir, file), "w");
			return { write: (bytes) => writeAll(handle, bytes), close: () => handle.close() };
		},
		put: (file, bytes) => writeFile(join(dir, file), bytes),
		remove: (file) => rm(join(dir, file), { force: true }),
	};
}

export const nowhere: Sink = {
	create: async () => ({ write: async () => {}, close: async () => {} }),
	put: async () => {},
	remove: async () => {},
};

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
	for (let done = 0; done < bytes.byteLength; ) done += (await handle.write(bytes, done)).bytesWritten;
}
