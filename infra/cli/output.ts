/**
 * Where results go. A place is tried before the work: its folder is made, and what cannot be written is refused at
 * once. A file is whole or it is not there: it is written beside its place and moved.
 */
import { readdirSync, renameSync, rmSync } from "node:fs";
import { access, constants, mkdir, readdir, realpath, rename, stat, writeFile } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { Temporary } from "../temporary.ts";
import { UsageError } from "./usage.ts";

/** A file that a command will write, and can. */
export class OutputFile {
	/** As it was given. */
	readonly path: string;
	#target: string;
	/** No plain file, such as /dev/stdout: written in place. */
	#special: boolean;

	private constructor(path: string, target: string, special: boolean) {
		this.path = path;
		this.#target = target;
		this.#special = special;
	}

	/** `option` names it in messages, as `--out`. Throws UsageError where the file could not be written. */
	static async at(option: string, path: string): Promise<OutputFile> {
		const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
			if (["ENOENT", "ENOTDIR"].includes(error.code ?? "")) return null;
			return denied(option, path, error);
		});
		if (found?.isDirectory()) throw refusal(option, path, "is a folder", "Give a file's name in it.");
		if (found && !found.isFile()) return new OutputFile(path, path, true);
		// Through a link, so that the link stays.
		const target = found ? await realpath(path) : resolve(path);
		if (found) await access(target, constants.W_OK).catch((error) => denied(option, path, error));
		await tryWriting(option, path, target);
		return new OutputFile(path, target, false);
	}

	async write(content: string | Uint8Array): Promise<void> {
		await (this.#special ? writeFile : writeWhole)(this.#target, content);
	}
}

/** Writes a file that is either whole or not there. */
export async function writeWhole(path: string, content: string | Uint8Array): Promise<void> {
	using half = beside(path);
	await writeFile(half.path, content);
	await rename(half.path, path);
}

/** The same for the options that were given. */
export const outputFile = async (option: string, path: string | undefined): Promise<OutputFile | undefined> =>
	path === undefined ? undefined : await OutputFile.at(option, path);

/** The same of a folder that has nothing in it yet. Throws UsageError for one that has. */
export async function emptyFolder(option: string, path: string): Promise<string> {
	const folder = await outputFolder(option, path);
	if ((await readdir(folder)).length > 0) throw refusal(option, path, "is not empty", "Give a new folder.");
	return folder;
}

/** Makes a folder, or takes the one that is there. Throws UsageError where nothing can be written into it. */
export async function outputFolder(option: string, path: string): Promise<string> {
	const found = await stat(path).catch(() => null);
	if (found && !found.isDirectory()) throw refusal(option, path, "is a file", "Give a folder's name.");
	await tryWriting(option, path, join(resolve(path), "files"));
	return path;
}

/**
 * A folder that comes to its place as a whole: write to `path`, then `commit`. Until then what was in its place stays.
 */
export class StagedFolder implements Disposable {
	readonly path: string;
	#target: string;
	#temporary: Temporary;

	private constructor(target: string, temporary: Temporary) {
		this.#target = target;
		this.#temporary = temporary;
		this.path = temporary.path;
	}

	/** Throws UsageError where the folder cannot be written. */
	static async at(option: string, path: string): Promise<StagedFolder> {
		const target = await realpath(await outputFolder(option, path));
		// In the folder itself, so that it is on the same disk.
		const temporary = beside(join(target, "files"));
		await mkdir(temporary.path);
		return new StagedFolder(target, temporary);
	}

	/**
	 * Moves the files, `last` after all others: whoever finds it finds the rest. It is taken away first, and with it
	 * those of the `outlived` that none comes in place of. In one go, so that no interrupt comes between.
	 */
	commit(last: string, outlived: readonly string[] = []): void {
		const files = readdirSync(this.path).filter((file) => file !== last);
		for (const file of [last, ...outlived]) rmSync(join(this.#target, file), { force: true });
		for (const file of [...files, last]) renameSync(join(this.path, file), join(this.#target, file));
		this[Symbol.dispose]();
	}

	[Symbol.dispose](): void {
		this.#temporary[Symbol.dispose]();
	}
}

/** `.name.PID.part.ext` in the same folder: the ending stays, for whoever goes by it. */
function beside(path: string): Temporary {
	const ending = extname(path);
	const half = join(dirname(path), `.${basename(path, ending)}.${process.pid}.part${ending}`);
	// A killed process of our number may have left one: a container is started again with the same.
	rmSync(half, { recursive: true, force: true });
	return new Temporary(half);
}

/** Makes the folder of `target`, and in it for a moment the file that will become it. */
async function tryWriting(option: string, path: string, target: string): Promise<void> {
	try {
		await makeFolder(dirname(target));
		using probe = beside(target);
		await writeFile(probe.path, "written to see whether it can be");
	} catch (error) {
		denied(option, path, error as NodeJS.ErrnoException);
	}
}

/** As `mkdir -p`. Node's own never comes back from a folder like /proc/x, whose parent is there and refuses. */
async function makeFolder(path: string): Promise<void> {
	if ((await stat(path).catch(() => null))?.isDirectory()) return;
	if (dirname(path) !== path) await makeFolder(dirname(path));
	await mkdir(path);
}

function denied(option: string, path: string, { code, message }: NodeJS.ErrnoException): never {
	const reasons: Record<string, string> = {
		EACCES: "permission denied",
		EPERM: "permission denied",
		EROFS: "its file system is read-only",
		ENOENT: "its folder cannot be made",
		ENOTDIR: "it leads through a file that is no folder",
		EEXIST: "it leads through a file that is no folder",
		ENOSPC: "there is no room left on the disk",
		ENAMETOOLONG: "the name is too long",
	};
	throw refusal(option, path, `cannot be written: ${reasons[code ?? ""] ?? message}`, "Choose another place.");
}

const refusal = (option: string, path: string, problem: string, hint: string) =>
	new UsageError(`${option} ${path} ${problem}.`, hint);
