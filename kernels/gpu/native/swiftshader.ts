/**
 * SwiftShader out of the npm package `@sparticuz/chromium`, so that a machine with neither GPU nor system packages
 * still runs every kernel.
 */
import { existsSync, lstatSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { createBrotliDecompress } from "node:zlib";
import { DeviceError } from "../errors.ts";
import { deno } from "./deno.ts";

/** In the name of its adapter. */
export const SWIFTSHADER = "SwiftShader";

/**
 * Adds SwiftShader to the Vulkan loader's drivers (VK_ADD_DRIVER_FILES: a real driver still comes first, and a user's
 * own VK_DRIVER_FILES replaces both), and loads the loader that comes with it where the system has none.
 */
export async function offerSwiftShader(): Promise<void> {
	if (process.platform !== "linux" || process.arch !== "x64") return;
	const archive = archiveOfChromium();
	if (!archive) return;
	const folder = await unpackSwiftShader(archive);
	process.env.VK_ADD_DRIVER_FILES ??= join(folder, "vk_swiftshader_icd.json");
	// Dawn and wgpu later ask for this name and get what is loaded already, whatever LD_LIBRARY_PATH says.
	if (!loadLibrary("libvulkan.so.1")) loadLibrary(join(folder, "libvulkan.so.1"));
}

function loadLibrary(path: string): boolean {
	if (deno) {
		try {
			deno.dlopen(path, {});
			return true;
		} catch {
			return false;
		}
	}
	const RTLD_NODELETE = 0x1000;
	try {
		process.dlopen({ exports: {} }, path, constants.dlopen.RTLD_NOW | RTLD_NODELETE);
		return true;
	} catch (error) {
		// A library that is no Node addon is refused after it was loaded, and NODELETE keeps it loaded.
		return String(error).includes("did not self-register");
	}
}

/** Undefined where the package is not installed: the engine as a library does without it. */
export function archiveOfChromium(): string | undefined {
	try {
		const entry = fileURLToPath(import.meta.resolve("@sparticuz/chromium"));
		return join(dirname(entry), "..", "bin", "swiftshader.tar.br");
	} catch {
		return undefined;
	}
}

/** Of what is unpacked: what is loaded, or names it. */
const NEEDED = ["libvk_swiftshader.so", "vk_swiftshader_icd.json", "libvulkan.so.1"];

/** Unpacks SwiftShader once a machine and user, into the folder of temporary files; returns the folder. */
export async function unpackSwiftShader(archive: string): Promise<string> {
	const folder = join(tmpdir(), `firstlight-swiftshader-${versionBeside(archive)}-${userId()}`);
	if (isWhole(folder)) return folder;
	// Into a folder of our own first, so that two processes starting together never see half a library.
	const own = mkdtempSync(`${folder}.`);
	try {
		const { extract } = await import("tar-fs");
		await pipeline(Readable.from([readFileSync(archive)]), createBrotliDecompress(), extract(own));
		moveInto(folder, own);
	} catch (error) {
		if (error instanceof DeviceError) throw error;
		throw new DeviceError(`SwiftShader could not be unpacked to ${folder}: ${(error as Error).message}.`);
	} finally {
		rmSync(own, { recursive: true, force: true });
	}
	return folder;
}

/** Another process may have been faster; a folder that has lost files since then goes. */
function moveInto(folder: string, own: string): void {
	try {
		renameSync(own, folder);
	} catch {
		if (isWhole(folder)) return;
		rmSync(folder, { recursive: true, force: true });
		renameSync(own, folder);
	}
}

/**
 * Whether all is there that is needed. Throws DeviceError for what others can write: it would be loaded into this
 * process.
 */
function isWhole(folder: string): boolean {
	const found = lstatSync(folder, { throwIfNoEntry: false });
	if (!found) return false;
	if (!found.isDirectory() || found.uid !== userId() || (found.mode & 0o022) !== 0)
		throw new DeviceError(
			`${folder} is no folder of this user alone, so SwiftShader is not loaded from there. ` +
				"Delete it, or set TMPDIR to a folder of your own.",
		);
	return NEEDED.every((file) => existsSync(join(folder, file)));
}

const userId = (): number => process.getuid?.() ?? 0;

function versionBeside(archive: string): string {
	const manifest = join(dirname(archive), "..", "package.json");
	return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
}
