import { existsSync } from "node:fs";
import { join } from "node:path";
import { SingleBar } from "cli-progress";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import { MANIFEST_FILE } from "../../model-shards/format/manifest.ts";
import { PRECISIONS } from "../../model-shards/format/precision.ts";
import { GROUPS, type Group } from "../../model-shards/format/stored.ts";
import { importModelDirectory } from "../../model-shards/import/directory.ts";
import { importFolder } from "../../model-shards/import/folder.ts";
import { importPublished } from "../../model-shards/import/published.ts";
import type { RoundTrip } from "../../model-shards/import/round-trip.ts";
import type { WriteOptions } from "../../model-shards/import/tensors.ts";
import { bundledModels, findModel, openModelFolder } from "../../model-shards/open.ts";
import { openModel } from "../../worker/engine/open.ts";
import type { ModelFolder } from "../../worker/families/folder.ts";
import { families } from "../../worker/families/index.ts";
import { exact } from "../../worker/policies/exact.ts";
import { difference, type Subject } from "../verify/against.ts";
import { oneOf, parse, UsageError } from "./usage.ts";

/**
 * To a model folder: the published checkpoints of a family, a released model directory (config.json,
 * transformer.safetensors, vae.safetensors, tokenizer.json), or another model folder, for its precision.
 */
export async function importCommand(args: string[]): Promise<number> {
	const { positionals, values } = parse({
		args,
		allowPositionals: true,
		options: {
			out: { type: "string" },
			family: { type: "string" },
			size: { type: "string" },
			name: { type: "string" },
			licence: { type: "string" },
			tokenizer: { type: "string" },
			"text-encoder": { type: "string" },
			dtype: { type: "string" },
			group: { type: "string", default: `${GROUPS[0]}` },
			check: { type: "boolean", default: false },
		},
	});
	const { out, licence } = values;
	if (positionals.length === 0 || !out) throw new UsageError("import takes a directory or checkpoints, and --out DIR.");
	const dtype = values.dtype === undefined ? undefined : oneOf("dtype", values.dtype, PRECISIONS);
	const group = Number(oneOf("group", values.group, GROUPS.map(String))) as Group;
	const bar = new SingleBar({
		format: "{bar} {percentage} %, {eta_formatted} left",
		stream: process.stderr,
		hideCursor: true,
	});
	const errors: RoundTrip[] = [];
	const options: Omit<WriteOptions, "out"> = {
		dtype,
		group,
		progress: (done, total) => (bar.isActive ? bar.update(done) : bar.start(total, done)),
		...(values.check && { checked: (error: RoundTrip) => void errors.push(error) }),
	};
	const original = positionals.length === 1 && values.family === undefined ? await modelFolder(positionals[0]) : null;
	try {
		const { name, tensors, shards } = await write();
		bar.stop();
		for (const error of errors) console.log(line(error));
		console.log(`Imported ${name}: ${tensors.length} tensors in ${shards.length} shards to ${out}`);
		if (original && values.check)
			for (const line of await checked(original, await openModelFolder(out))) console.log(line);
	} finally {
		bar.stop();
	}
	return 0;

	async function write() {
		if (original) {
			if (values.size || values.tokenizer || values["text-encoder"])
				throw new UsageError("Of a model folder, import takes no --size, --text-encoder or --tokenizer.");
			return await importFolder(original, { out: out as string, name: values.name, licence, ...options });
		}
		if (values.family === undefined) {
			if (positionals.length !== 1 || values.size || values.name || values.tokenizer || values["text-encoder"]) {
				throw new UsageError(
					"Without --family, import takes one released model directory and no --size, --name, --text-encoder or --tokenizer.",
				);
			}
			return await importModelDirectory(positionals[0], out as string, { licence, ...options });
		}
		const family = families[oneOf("family", values.family, Object.keys(families))];
		if (values.size === undefined)
			throw new UsageError(`--family ${values.family} needs --size: ${family.published.sizes.join(", ")}.`);
		return await importPublished(family, values.size, positionals, {
			out: out as string,
			licence,
			name: values.name,
			tokenizer: values.tokenizer,
			textEncoder: values["text-encoder"],
			...options,
		});
	}
}

/** A bundled model or a folder with a manifest; null for any other directory. */
async function modelFolder(where: string): Promise<ModelFolder | null> {
	return bundledModels().includes(where) || existsSync(join(where, MANIFEST_FILE))
		? await openModelFolder(findModel(where))
		: null;
}

/**
 * Both models on the reference inputs: one prompt and seed, the new model with the codes of the original, and on its
 * own.
 */
async function checked(original: ModelFolder, made: ModelFolder): Promise<string[]> {
	const { classes, maxPromptTokens } = original.info;
	const subject: Subject | null =
		classes !== undefined
			? { label: 0 }
			: original.tokenizer && maxPromptTokens > 0
				? { prompt: CHECKED_PROMPT }
				: null;
	if (!subject)
		return [
			"The engine was not run on it: this model takes text features. Check it with `firstlight verify SET --model DIR`.",
		];
	const gpu = await openGpu();
	const [reference, model] = [await openModel(gpu, original), await openModel(gpu, made)];
	const { scales, samePsnr, seedPsnr } = await difference(reference, model, exact.plan(original.info, {}), subject, 1);
	return [
		...scales.map(
			({ scale, logits, bits }) =>
				`scale ${scale}: logits differ by ${(100 * logits).toFixed(2)} %, ${(100 * bits).toFixed(2)} % of the bits are the same`,
		),
		`pictures: ${decibels(samePsnr)} with the codes of the original, ${decibels(seedPsnr)} with its own of the same seed`,
	];
}
const decibels = (psnr: number) => (psnr === Infinity ? "the same" : `${psnr.toFixed(1)} dB`);
const CHECKED_PROMPT = "a photo of a red apple";

function line({ name, dtype, max, relative, rms }: RoundTrip): string {
	return `${dtype.padEnd(4)} max ${max.toExponential(2)}, relative ${relative.toExponential(2)}, rms ${rms.toExponential(2)}  ${name}`;
}
