/**
 * `npm run bench:import -- [--family infinity] [--size 2b] [--dtype f16] [--text google/flan-t5-xl] [--dry]`: makes a
 * checkpoint of random numbers with the official names and shapes of a published model (Infinity 2b in BF16: 4 GB),
 * imports it and prints peak memory and speed; everything is removed afterwards. `--dry` writes neither: the numbers
 * stream into hashes, which takes any size. With `--text` a published text encoder comes with it; its numbers are not
 * written before.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { SingleBar } from "cli-progress";
import { manifestText } from "../../model-shards/format/manifest.ts";
import { PRECISIONS } from "../../model-shards/format/precision.ts";
import { importPublished, publishedTensors } from "../../model-shards/import/published.ts";
import { nowhere } from "../../model-shards/import/sink.ts";
import { syntheticSource, writePth } from "../../model-shards/import/synthetic.ts";
import { textEncoderIn } from "../../model-shards/import/text-encoder.ts";
import { families } from "../../worker/families/index.ts";
import { PUBLISHED_TEXT, type TextEncoderConfig } from "../../worker/families/text/config.ts";
import { TEXT_PREFIX, textTensors } from "../../worker/families/text/tensors.ts";
import { oneOf } from "../cli/usage.ts";

const { values } = parseArgs({
	options: {
		make: { type: "string" },
		family: { type: "string", default: "infinity" },
		size: { type: "string", default: "2b" },
		dtype: { type: "string", default: "f16" },
		text: { type: "string" },
		dry: { type: "boolean", default: false },
	},
});
const family = families[oneOf("family", values.family, Object.keys(families))];
const dtype = oneOf("dtype", values.dtype, PRECISIONS);
const { name } = family.published.describe(values.size).head;
const [weights, vae] = publishedTensors(family, values.size);
const sources = {
	weights: syntheticSource(`${name}.pth`, weights, "BF16"),
	vae: syntheticSource("vae.pth", vae, "F32"),
};
const published: Record<string, TextEncoderConfig> = PUBLISHED_TEXT;
const encoder = values.text === undefined ? undefined : published[oneOf("text", values.text, Object.keys(published))];
const textSource = (config: TextEncoderConfig) =>
	syntheticSource(
		"text encoder",
		textTensors(config).map(({ name, shape }) => ({ name: name.slice(TEXT_PREFIX.length), shape })),
		"BF16",
	);
const textEncoder = encoder && textEncoderIn(textSource(encoder), encoder);
if (values.make) {
	await writePth(join(values.make, "weights.pth"), sources.weights);
	await writePth(join(values.make, "vae.pth"), sources.vae);
	process.exit(0);
}
const dir = await mkdtemp(join(tmpdir(), "firstlight-bench-"));
process.once("SIGINT", () => void rm(dir, { recursive: true }).then(() => process.exit(130)));
try {
	const files = { weights: join(dir, "weights.pth"), vae: join(dir, "vae.pth") };
	if (!values.dry) {
		console.error(`Writing ${values.size} to ${dir}`);
		// In a process of its own, so that its memory does not count.
		await promisify(execFile)(process.execPath, [
			fileURLToPath(import.meta.url),
			"--make",
			dir,
			"--family",
			values.family,
			"--size",
			values.size,
		]);
	}
	const before = process.resourceUsage().maxRSS / 1024;
	const bar = new SingleBar({ format: "{bar} {percentage} %, {eta_formatted} left", stream: process.stderr });
	let bytes = 0;
	const begun = performance.now();
	const manifest = await importPublished(family, values.size, Object.values(values.dry ? sources : files), {
		licence: "random numbers",
		textEncoder,
		out: values.dry ? nowhere : join(dir, "model"),
		dtype,
		progress(done, total) {
			if (bytes === 0) bar.start(total, done);
			else bar.update(done);
			bytes = done;
		},
	});
	const seconds = (performance.now() - begun) / 1000;
	bar.stop();
	const written = manifest.shards.reduce((sum, shard) => sum + shard.bytes, 0);
	console.log(
		`${name}${values.text ? ` with ${values.text}` : ""}${values.dry ? ", dry" : ""}: ${manifest.tensors.length} tensors, ${gb(bytes)} read, ${gb(written)} written as ${dtype} in ${manifest.shards.length} shards`,
	);
	console.log(
		`${seconds.toFixed(1)} s, ${(bytes / 1e6 / seconds).toFixed(0)} MB/s; peak resident memory ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB (${before.toFixed(0)} before the import)`,
	);
	console.log(`manifest sha256:${createHash("sha256").update(manifestText(manifest)).digest("hex")}`);
} finally {
	await rm(dir, { recursive: true, force: true });
}

function gb(bytes: number): string {
	return `${(bytes / 1e9).toFixed(2)} GB`;
}
