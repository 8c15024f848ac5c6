/** Makes a bundled emoji model of its release: `npx node model-shards/training/make-emoji.ts RELEASE_DIR OUT`. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { importModelDirectory } from "../import/directory.ts";

const [release, out] = process.argv.slice(2);
if (!release || !out) {
	console.error("usage: node model-shards/training/make-emoji.ts RELEASE_DIR OUT");
	process.exit(2);
}
const manifest = await importModelDirectory(release, out, {
	licence:
		"MIT. Trained from scratch on drawn scenes; 63 of its 80 sprites are Microsoft Fluent Emoji (MIT). See " +
		"MODEL_CARD.md and LICENSE.",
	shardBytes: 8 * 2 ** 20,
});
await writeFile(join(out, "MODEL_CARD.md"), await readFile(join(release, "MODEL_CARD.md")));
console.log(`${manifest.name}: ${manifest.tensors.length} tensors in ${manifest.shards.length} shards`);
