/** Reading whole, known-size pieces of files. */
import { createHash } from "node:crypto";
import { type FileHandle, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { MissingFileError, ModelFormatError } from "../errors.ts";
import { parseJson } from "../json.ts";
import type { FileEntry } from "../manifest.ts";

/** One read call takes at most this much, below every platform's limit. */
const PIECE = 2 ** 28;

/** Fills `into` from `position`; throws where the file ends early. */
export async function readExactly(
	handle: FileHandle,
	into: Uint8Array,
	position: number,
	where: string,
): Promise<void> {
	let done = 0;
	while (done < into.byteLength) {
		const { bytesRead } = await handle.read(into, done, Math.min(PIECE, into.byteLength - done), position + done);
		if (bytesRead === 0)
			throw new ModelFormatError(
				`${where} ends at byte ${position + done}; ${position + into.byteLength} were expected. Copy it again.`,
			);
		done += bytesRead;
	}
}

export const isAbsent = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === "ENOENT";

/** Opens a file for reading; a missing one is a ModelFormatError. */
export async function openFile(path: string): Promise<FileHandle> {
	try {
		return await open(path, "r");
	} catch (error) {
		const Failure = isAbsent(error) ? MissingFileError : ModelFormatError;
		throw new Failure(`Cannot open ${path}: ${(error as Error).message}`, { cause: error });
	}
}

/** A JSON file of any form. Throws ModelFormatError for one that is not there or no JSON. */
export async function readJson(path: string): Promise<unknown> {
	const bytes = await readFile(path).catch((error: Error) => {
		throw new ModelFormatError(`${path} cannot be read as JSON: ${error.message}`, { cause: error });
	});
	return parseJson(bytes, path);
}

/** Reads a file of a model folder and checks its size and hash before anything looks inside. */
export async function readVerified(dir: string, entry: FileEntry): Promise<Uint8Array<ArrayBuffer>> {
	const path = join(dir, entry.file);
	await using handle = await openFile(path);
	const { size } = await handle.stat();
	if (size !== entry.bytes)
		throw new ModelFormatError(
			`${path} has ${size} bytes, the manifest says ${entry.bytes}. Copy or import the model again.`,
		);
	const bytes = new Uint8Array(entry.bytes);
	await readExactly(handle, bytes, 0, path);
	const sha256 = createHash("sha256").update(bytes).digest("hex");
	if (sha256 !== entry.sha256) {
		throw new ModelFormatError(
			`${path} is damaged: its SHA-256 is ${sha256}, the manifest says ${entry.sha256}. ` +
				"Copy or import the model again.",
		);
	}
	return bytes;
}
