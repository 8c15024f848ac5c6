/** Mesa's software adapter, as the system lists it. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** In the name of its adapter. */
export const LLVMPIPE = "llvmpipe";

/** Where Vulkan's loader finds manifests of drivers that the system has (Khronos' LoaderDriverInterface.md). */
const FOLDERS = ["/usr/local/etc", "/usr/local/share", "/etc", "/usr/share"].map((of) => join(of, "vulkan", "icd.d"));

/** Whether there is one that Dawn takes: it speaks Vulkan 1.4 since Mesa 25.0, and Dawn takes none of before. */
export function hasLlvmpipe(folders: readonly string[] = FOLDERS): boolean {
	return folders
		.filter((folder) => existsSync(folder))
		.flatMap((folder) => readdirSync(folder).map((name) => ({ name, path: join(folder, name) })))
		.some(({ name, path }) => /^lvp_icd.*\.json$/.test(name) && isOfVulkan14(path));
}

function isOfVulkan14(manifest: string): boolean {
	try {
		const [, major, minor] = /"api_version"\s*:\s*"(\d+)\.(\d+)/.exec(readFileSync(manifest, "utf8")) ?? [];
		return Number(major) > 1 || (Number(major) === 1 && Number(minor) >= 4);
	} catch {
		return false;
	}
}
