/**
 * Builds the page's scripts beside its markup, in `worker/page/site`: the page itself, and the engine it can run, which
 * is loaded only when it is asked for. wrangler runs it before it serves or deploys (wrangler.toml).
 */
import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";

const root = join(import.meta.dirname, "..", "..");
export const SITE = join(root, "worker", "page", "site");

/** Writes the scripts to `out`, and what is not made beside them where that is another folder. */
export async function buildPage(out = SITE): Promise<void> {
	if (out !== SITE) await cp(SITE, out, { recursive: true });
	for (const name of ["main.js", "engine.js"]) await rm(join(out, name), { force: true });
	await build({
		absWorkingDir: root,
		entryPoints: { main: "worker/page/main.ts", engine: "worker/page/engine.ts" },
		outdir: out,
		bundle: true,
		minify: true,
		format: "esm",
		target: "es2024",
		legalComments: "none",
		logLevel: "error",
	});
}

if (import.meta.main) await buildPage();
