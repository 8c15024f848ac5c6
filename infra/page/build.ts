/**
 * Builds the page's script and style beside its markup, in `worker/page/site`, and the engine it can run, which is
 * loaded only when it is asked for. wrangler runs it before it serves or deploys (wrangler.toml).
 */
import { cp, rm } from "node:fs/promises";
import { join, parse } from "node:path";
import { build } from "esbuild";

const root = join(import.meta.dirname, "..", "..");
export const SITE = join(root, "worker", "page", "site");

/** By their names in the site. */
const ENTRIES = {
	"main.js": "worker/page/main.ts",
	"engine.js": "worker/page/engine.ts",
	"style.css": "worker/page/style/style.css",
};

/** Writes them to `out`, and what is not made beside them where that is another folder. */
export async function buildPage(out = SITE): Promise<void> {
	if (out !== SITE) await cp(SITE, out, { recursive: true });
	for (const name of Object.keys(ENTRIES)) await rm(join(out, name), { force: true });
	await build({
		absWorkingDir: root,
		entryPoints: Object.entries(ENTRIES).map(([name, file]) => ({ in: file, out: parse(name).name })),
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
