import { readFileSync } from "node:fs";
import { KERNELS_VERSION } from "../../kernels/tune.ts";
import { ENGINE_VERSION } from "../../worker/engine/numerics.ts";

/** The package's version, and those that the bits of a picture depend on. */
export function versionText(): string {
	const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
		version: string;
	};
	return `${version} (engine ${ENGINE_VERSION}, kernels ${KERNELS_VERSION})`;
}
