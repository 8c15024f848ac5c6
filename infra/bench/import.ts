/**
 * Makes a checkpoint of random numbers with the official names and shapes of a published model (Infinity 2b in BF16:
 * 4 GB), imports it and says what that took; all that is not asked for is removed afterwards.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Manifest, manifestText } from "../../model-shards/format/manifest.ts";
import type { Precision } from "../../model-shards/format/precision.ts";
import type { TensorSource } from "../../model-shards/import/formats/tensor-source.ts";
import { importPublished, publishedTensors } from "../../model-shards/import/published.ts";
import { nowhere } from "../../model-shards/import/sink.ts";
import { syntheticSource, writePth } from "../../model-shards/import/synthetic.ts";
import { textEncoderIn } from "../../model-shards/import/text-encoder.ts";
import type { Family } from "../../worker/families/family.ts";
import { families } from "../../worker/families/index.ts";
import { PUBLISHED_TEXT, type TextEncoderConfig } from "../../worker/families/text/config.ts";
import { TEXT_PREFIX, textTensors } from "../../worker/families/text/tensors.ts";
import { temporaryFolder } from "../temporary.ts";
import type { Watch } from "./measure.ts";

/** Names of the text encoders that can come with a model. */
export const TEXT_ENCODERS: readonly string[] = Object.keys(PUBLISHED_TEXT);

export interface ImportWishes {
	family: string;
	size: string;
	dtype: Precision;
	/** One of TEXT_ENCODERS; its numbers are not written before. */
	text?: string;
	/** Writes neither checkpoint nor model: the numbers stream into hashes, which takes any size. */
	dry: boolean;
	/** Where the model is left; it is removed otherwise. */
	out?: string;
}

export interface ImportReport {
	name: string;
	tensors: number;
	shards: number;
	/** Of the checkpoint, and of the model. */
	bytes_read: number;
	bytes_written: number;
	seconds: number;
	/** Bytes of resident memory: before the import, and the most during it. */
	resident_before: number;
	resident_peak: number;
	/** SHA-256 of the manifest. */
	manifest: string;
}

/** The two files of random numbers in a process's memory. */
function sourcesOf(family: Family, size: string): Record<"weights" | "vae", TensorSource> {
	const { name } = family.published.describe(size).head;
	const [weights, vae] = publishedTensors(family, size);
	return {
		weights: syntheticSource(`${name}.pth`, weights, "BF16"),
		vae: syntheticSource("vae.pth", vae, "F32"),
	};
}

/** Writes the checkpoint into a folder. */
export async function writeCheckpoint(dir: string, family: string, size: string): Promise<void> {
	for (const [name, source] of Object.entries(sourcesOf(families[family], size)))
		await writePth(join(dir, `${name}.pth`), source);
}

/** `make`: a command line that calls `writeCheckpoint`, in a process of its own, so that its memory does not count. */
export async function benchImport(
	{ family: familyName, size, dtype, text, dry, out }: ImportWishes,
	make: (dir: string) => readonly string[],
	{ signal, progress }: Watch,
): Promise<ImportReport> {
	const family = families[familyName];
	const published: Record<string, TextEncoderConfig> = PUBLISHED_TEXT;
	using dir = await temporaryFolder("firstlight-bench-");
	if (!dry) {
		const [command, ...args] = make(dir.path);
		await promisify(execFile)(command, args, { signal });
	}
	const before = process.resourceUsage().maxRSS;
	const begun = performance.now();
	let bytes = 0;
	const manifest = await importPublished(
		family,
		size,
		dry ? Object.values(sourcesOf(family, size)) : ["weights", "vae"].map((name) => join(dir.path, `${name}.pth`)),
		{
			licence: "random numbers",
			tokenizer: null,
			textEncoder: text === undefined ? undefined : textEncoderIn(textSource(published[text]), published[text]),
			out: dry ? nowhere : (out ?? join(dir.path, "model")),
			dtype,
			progress: (done, total) => {
				bytes = done;
				progress?.(done, total);
			},
		},
	);
	return {
		...sizesOf(manifest),
		bytes_read: bytes,
		seconds: (performance.now() - begun) / 1000,
		resident_before: 1024 * before,
		resident_peak: 1024 * process.resourceUsage().maxRSS,
	};
}

const sizesOf = (manifest: Manifest) => ({
	name: manifest.name,
	tensors: manifest.tensors.length,
	shards: manifest.shards.length,
	bytes_written: manifest.shards.reduce((sum, shard) => sum + shard.bytes, 0),
	manifest: createHash("sha256").update(manifestText(manifest)).digest("hex"),
});

const textSource = (config: TextEncoderConfig): TensorSource =>
	syntheticSource(
		"text encoder",
		textTensors(config).map(({ name, shape }) => ({ name: name.slice(TEXT_PREFIX.length), shape })),
		"BF16",
	);

export function importText(report: ImportReport, { text, dry, dtype, out }: ImportWishes): string {
	const gb = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`;
	const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
	const { name, tensors, shards, bytes_read, bytes_written, seconds, resident_before, resident_peak } = report;
	const what = `${name}${text ? ` with ${text}` : ""}${dry ? ", dry" : ""}`;
	return [
		`${what}: ${tensors} tensors, ${gb(bytes_read)} read, ${gb(bytes_written)} written as ${dtype} in ${shards} shards`,
		`${seconds.toFixed(1)} s, ${(bytes_read / 1e6 / seconds).toFixed(0)} MB/s; ` +
			`peak resident memory ${mebibytes(resident_peak)} MiB (${mebibytes(resident_before)} before the import)`,
		`manifest sha256:${report.manifest}${out === undefined ? "" : `, in ${out}`}`,
	].join("\n");
}
