import { existsSync } from "node:fs";
import { readFile, realpath, rm } from "node:fs/promises";
import { join } from "node:path";
import { MANIFEST_FILE, type Manifest, manifestDigest, parseManifest } from "../../model-shards/format/manifest.ts";
import { POLICIES_FILE, PoliciesFile } from "../../model-shards/format/policies.ts";
import { PRECISIONS } from "../../model-shards/format/precision.ts";
import { readJson } from "../../model-shards/format/source/files.ts";
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
import { difference, type ModelDifference, type Subject } from "../verify/against.ts";
import { openAdapter } from "./open-adapter.ts";
import { choice, given, jsonOption } from "./options.ts";
import { StagedFolder } from "./output.ts";
import type { Define } from "./program.ts";
import { sizesText } from "./sizes.ts";
import type { Terminal } from "./terminal.ts";
import { oneOf, UsageError } from "./usage.ts";

/**
 * To a model folder: the published checkpoints of a family, a released model directory (config.json,
 * transformer.safetensors, vae.safetensors, tokenizer.json), or another model folder, for its precision. What lies in
 * the folder's place stays until the new model is whole.
 */
export const define: Define = (command, terminal) =>
	command
		.argument("<from...>", "checkpoints (.pth, .safetensors, a folder with an index), a released directory or a model")
		.requiredOption("--out <folder>", "the model folder to make", given("out"))
		.addOption(choice("family", "whose checkpoints these are", Object.keys(families)))
		.option("--size <size>", "which of its sizes", given("size"))
		.option("--name <name>", "of the model (default: the published one)", given("name"))
		.option("--licence <text>", "of the model (default: the published one)", given("licence"))
		.option("--tokenizer <file>", "of text (default: the text encoder's)", given("tokenizer"))
		.option("--text-encoder <folder>", "without one, prompts cannot be drawn", given("text-encoder"))
		.addOption(choice("dtype", "how weights are stored (default: as they are)", PRECISIONS))
		.addOption(
			choice("group", "numbers that share a scale, of int8 and int4", GROUPS.map(String)).default(`${GROUPS[0]}`),
		)
		.option("--check", "print every tensor's error; of a model also the engine's, against the original")
		.addOption(jsonOption())
		.addHelpText("after", () => `\nPublished sizes:\n${sizesText()}`)
		.action(async (from, { out, check, group, dtype, ...wishes }) => {
			if (command.getOptionValueSource("group") === "cli" && dtype !== "int8" && dtype !== "int4")
				throw new UsageError("--group is of whole numbers: give --dtype int8 or int4 beside it.");
			const { original, write } = await importer(from, wishes);
			if (check && original && existsSync(out) && (await realpath(out)) === (await realpath(original.dir)))
				throw new UsageError("--check needs the original, which the new model would replace: give another --out.");
			using staged = await StagedFolder.at("--out", out);
			using bar = terminal.progress("{bar} {percentage} %, {eta_formatted} left");
			using checks = terminal.progress("{bar} {value}/{total} tensors read back and compared");
			const errors: RoundTrip[] = [];
			const manifest = await write(staged.path, {
				dtype,
				group: Number(group) as Group,
				progress: bar.report,
				...(check && {
					checked: (error: RoundTrip, done: number, total: number) => {
						bar[Symbol.dispose]();
						checks.report(done, total);
						errors.push(error);
					},
				}),
			});
			for (const done of [bar, checks]) done[Symbol.dispose]();
			const digest = await manifestDigest(await readFile(join(staged.path, MANIFEST_FILE)));
			staged.commit(MANIFEST_FILE, await outlived(out, staged.path, digest));
			for (const error of errors) terminal.print(errorText(error));
			const { name, tensors, shards } = manifest;
			terminal.print(`Imported ${name}: ${tensors.length} tensors in ${shards.length} shards to ${out}`);
			const compared = check && original ? await compare(original, await openModelFolder(out), terminal) : undefined;
			if (compared !== undefined) terminal.print(comparisonText(compared));
			terminal.result({
				name,
				out,
				digest,
				tensors: tensors.length,
				shards: shards.length,
				...(check && { errors }),
				...(compared !== undefined && { engine: compared }),
			});
		});

interface Wishes {
	family?: string;
	size?: string;
	name?: string;
	licence?: string;
	tokenizer?: string;
	textEncoder?: string;
}

interface Importer {
	write(out: string, options: Omit<WriteOptions, "out">): Promise<Manifest>;
	/** The model that it is made of, where it is one. */
	original: ModelFolder | null;
}

/** Which of the three imports is meant. Throws UsageError where what is given is of none, or of two. */
async function importer(from: readonly string[], wishes: Wishes): Promise<Importer> {
	const { family, size, tokenizer, textEncoder, name, licence } = wishes;
	if (family !== undefined) {
		const { sizes } = families[family].published;
		if (size === undefined) throw new UsageError(`--family ${family} needs --size: ${sizes.join(", ")}.`);
		oneOf("size", size, sizes);
		const options = { name, licence, tokenizer, textEncoder };
		return {
			original: null,
			write: (out, how) => importPublished(families[family], size, from, { out, ...options, ...how }),
		};
	}
	const original = from.length === 1 ? await modelFolder(from[0]) : null;
	if (original) {
		if (size || tokenizer || textEncoder)
			throw new UsageError("Of a model folder, import takes no --size, --text-encoder or --tokenizer.");
		return { original, write: (out, how) => importFolder(original, { out, name, licence, ...how }) };
	}
	if (from.length !== 1 || size || name || tokenizer || textEncoder)
		throw new UsageError(
			"Without --family, import takes one released model directory and " +
				"no --size, --name, --text-encoder or --tokenizer.",
		);
	return { original: null, write: (out, how) => importModelDirectory(from[0], out, { licence, ...how }) };
}

/** A bundled model or a folder with a manifest; null for any other directory. */
async function modelFolder(where: string): Promise<ModelFolder | null> {
	return bundledModels().includes(where) || existsSync(join(where, MANIFEST_FILE))
		? await openModelFolder(findModel(where))
		: null;
}

/**
 * Files in the place of the new model that go as it comes: the shards of another that was there, and what was measured
 * of it, which would make this one unreadable. What was measured of this very model stays, in place of what comes
 * along.
 */
async function outlived(out: string, staged: string, digest: string): Promise<string[]> {
	const there = await readFile(join(out, MANIFEST_FILE), "utf8")
		.then((text) => parseManifest(text))
		.catch(() => null);
	const files = [...(there?.shards ?? []), ...(there?.tokenizer ? [there.tokenizer] : [])].map(({ file }) => file);
	const held = PoliciesFile.safeParse(await readJson(join(out, POLICIES_FILE)).catch(() => null));
	if (held.data?.model === digest) await rm(join(staged, POLICIES_FILE), { force: true });
	else files.push(POLICIES_FILE);
	return files;
}

/**
 * Both models on the reference inputs: one prompt and seed, the new model with the codes of the original, and on its
 * own.
 */
async function compare(original: ModelFolder, made: ModelFolder, terminal: Terminal): Promise<ModelDifference | null> {
	const { classes, maxPromptTokens } = original.info;
	const prompt = original.tokenizer && maxPromptTokens > 0 ? { prompt: CHECKED_PROMPT } : null;
	const subject: Subject | null = classes !== undefined ? { label: 0 } : prompt;
	if (!subject) return null;
	const gpu = await openAdapter(terminal);
	const loaded = async (folder: ModelFolder, which: string) => {
		using bar = terminal.progress(`{bar} {percentage} % of the ${which} model loaded, {eta_formatted} left`);
		return await openModel(gpu, folder, { progress: bar.report });
	};
	const [reference, model] = [await loaded(original, "original"), await loaded(made, "new")];
	// Beforehand, so that nothing keeps an interrupt waiting.
	for (const each of [reference, model]) await each.compile([exact.plan(each.info, {})]);
	terminal.say(
		"Three pictures are drawn: by the original, by the new model with its codes, and by the new one freely.",
	);
	return await difference(reference, model, exact.plan(original.info, {}), subject, 1);
}

const CHECKED_PROMPT = "a photo of a red apple";

function comparisonText(compared: ModelDifference | null): string {
	if (!compared)
		return (
			"The engine was not run on it: this model takes text features. " +
			"Check it with `firstlight verify SET --model DIR`."
		);
	const { scales, samePsnr, seedPsnr } = compared;
	const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
	return [
		...scales.map(
			({ scale, logits, bits }) =>
				`scale ${scale}: logits differ by ${percent(logits)}, ${percent(bits)} of the bits are the same`,
		),
		`pictures: ${decibels(samePsnr)} with the codes of the original, ` +
			`${decibels(seedPsnr)} with its own of the same seed`,
	].join("\n");
}

const decibels = (psnr: number) => (psnr === Infinity ? "the same" : `${psnr.toFixed(1)} dB`);

function errorText({ name, dtype, max, relative, rms }: RoundTrip): string {
	const [most, share, mean] = [max, relative, rms].map((value) => value.toExponential(2));
	return `${dtype.padEnd(4)} max ${most}, relative ${share}, rms ${mean}  ${name}`;
}
