/**
 * SwiftShader out of the npm package `@sparticuz/chromium`, so that a machine with neither GPU nor system packages
 * still runs every kernel.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
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
function archiveOfChromium(): string | undefined {
	try {
		const entry = fileURLToPath(import.meta.resolve("@sparticuz/chromium"));
		return join(dirname(entry), "..", "bin", "swiftshader.tar.br");
	} catch {
		return undefined;
	}
}

/** Unpacks SwiftShader once a machine, into the folder of temporary files; returns the folder. */
async function unpackSwiftShader(archive: string): Promise<string> {
	const folder = join(tmpdir(), `firstlight-swiftshader-${versionBeside(archive)}-${process.getuid?.() ?? 0}`);
	const done = join(folder, "unpacked");
	if (existsSync(done)) return folder;
	// Into a folder of our own first, so that two processes starting together never see half a library.
	const own = `${folder}.${process.pid}`;
	mkdirSync(own, { recursive: true, mode: 0o700 });
	const { extract } = await import("tar-fs");
	await pipeline(Readable.from([readFileSync(archive)]), createBrotliDecompress(), extract(own));
	writeFileSync(join(own, "unpacked"), "");
	try {
		renameSync(own, folder);
	} catch {
		rmSync(own, { recursive: true, force: true });
		if (!existsSync(done))
			throw new DeviceError(`SwiftShader could not be unpacked to ${folder}. Delete that folder and start again.`);
	}
	return folder;
}

function versionBeside(archive: string): string {
	const manifest = join(dirname(archive), "..", "package.json");
	return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
}
