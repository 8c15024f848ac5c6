/**
 * A model folder's `manifest.json`: what the model is and where its tensors lie in the shards. The schema checks the
 * form, `checkManifest` what a schema cannot see: sizes, ranges, overlaps, and that the parts of the configuration fit
 * together.
 */
import { createHash } from "node:crypto";
import { z } from "zod";
import { HartConfig, hartProblems } from "../../worker/families/hart/config.ts";
import { InfinityConfig, infinityProblems } from "../../worker/families/infinity/config.ts";
import { StarConfig, starProblems } from "../../worker/families/star/config.ts";
import { textEncoderProblems } from "../../worker/families/text/config.ts";
import { VarConfig, varProblems } from "../../worker/families/var/config.ts";
import {
	type FileEntry,
	MANIFEST_FILE,
	ModelName,
	ShardFiles,
	TokenizerFile,
} from "../../worker/protocol/model-files.ts";
import { type ModelInfo, Sampling, Schedule } from "../../worker/protocol/model-info.ts";

export { MANIFEST_FILE, MAX_MANIFEST_BYTES, MAX_SHARD_BYTES, PlainFile } from "../../worker/protocol/model-files.ts";
export type { FileEntry };

/** A model folder that cannot be used. The message names the file or tensor and says what to do. */
export class ModelFormatError extends Error {
	override name = "ModelFormatError";
}

/** A file that is not there, where one may be. */
export class MissingFileError extends ModelFormatError {}

const ScheduleName = z.string().min(1).max(64);

const DTYPE_BITS = { F32: 32, F16: 16, I32: 32, I8: 8, I4: 4 } as const;
export type Dtype = keyof typeof DTYPE_BITS;

/** How the whole numbers of an I8 or I4 matrix [n, k] become values; the layout is in precision.ts. */
const Quantization = z.strictObject({
	/** Neighbours along k that share a scale. */
	group: z.literal([32, 64]),
	/** The F16 tensor [n, k / group] of scales. */
	scales: z.string().min(1).max(256),
});
export type Quantization = z.infer<typeof Quantization>;

const TensorEntry = z.strictObject({
	name: z.string().min(1).max(256),
	dtype: z.enum(["F32", "F16", "I32", "I8", "I4"]),
	shape: z.array(z.int().min(1)).max(8),
	/** Index into `shards`, and the byte offset in that file. */
	shard: z.int().min(0),
	offset: z.int().min(0),
	bytes: z.int().min(1),
	/** Of I8 and I4, and only of them. */
	quantization: Quantization.optional(),
});
export type TensorEntry = z.infer<typeof TensorEntry>;

const fields = <F extends string, C extends z.ZodType>(family: F, config: C) => ({
	format: z.literal("firstlight-model"),
	version: z.literal(1),
	name: ModelName,
	family: z.literal(family),
	config,
	schedules: z.record(ScheduleName, Schedule),
	defaultSchedule: ScheduleName,
	sampling: Sampling,
	tokenizer: TokenizerFile,
	licence: z.string().min(1).max(4096),
});
const files = {
	tensors: z.array(TensorEntry).min(1).max(100_000),
	shards: ShardFiles,
};
const [infinity, var_, star, hart] = [
	fields("infinity", InfinityConfig),
	fields("var", VarConfig),
	fields("star", StarConfig),
	fields("hart", HartConfig),
];

/** A manifest without its files. */
export const ManifestHead = z.discriminatedUnion("family", [
	z.strictObject(infinity),
	z.strictObject(var_),
	z.strictObject(star),
	z.strictObject(hart),
]);
export type ManifestHead = z.infer<typeof ManifestHead>;
export const Manifest = z.discriminatedUnion("family", [
	z.strictObject({ ...infinity, ...files }),
	z.strictObject({ ...var_, ...files }),
	z.strictObject({ ...star, ...files }),
	z.strictObject({ ...hart, ...files }),
]);
export type Manifest = z.infer<typeof Manifest>;
/** A family and the shape of its models. */
export type FamilyConfig = ManifestHead extends infer H
	? H extends ManifestHead
		? Pick<H, "family" | "config">
		: never
	: never;

/** Bytes of a tensor, or null where the product leaves the exact integers. */
export function tensorBytes(dtype: Dtype, shape: readonly number[]): number | null {
	let bits = DTYPE_BITS[dtype] as number;
	for (const side of shape) {
		bits *= side;
		if (!Number.isSafeInteger(bits)) return null;
	}
	return Math.ceil(bits / 8);
}

/** Parses and checks the text of a manifest. `where` names it in errors. */
export function parseManifest(text: string, where = MANIFEST_FILE): Manifest {
	let json: unknown;
	try {
		json = JSON.parse(text);
	} catch (error) {
		throw new ModelFormatError(`${where} is not JSON (${(error as Error).message}). Import the model again.`);
	}
	const parsed = Manifest.safeParse(json);
	if (!parsed.success) {
		throw new ModelFormatError(
			`${where} is not a model manifest this version reads:\n${z.prettifyError(parsed.error)}`,
		);
	}
	checkManifest(parsed.data, where);
	return parsed.data;
}

/** Throws one ModelFormatError that lists the contradictions in the manifest. */
export function checkManifest(manifest: Manifest, where = MANIFEST_FILE): void {
	const problems = [...configProblems(manifest), ...tensorProblems(manifest)];
	if (problems.length === 0) return;
	throw new ModelFormatError(`${where} contradicts itself:\n${listed(problems)}`);
}

/** The first of the problems, a line each, as they stand in an error. */
export function listed(problems: readonly string[], most = 20): string {
	const shown = problems.slice(0, most);
	if (problems.length > shown.length) shown.push(`and ${problems.length - shown.length} more`);
	return shown.map((problem) => `- ${problem}`).join("\n");
}

function tensorProblems({ tensors, shards, tokenizer }: Manifest): string[] {
	const problems: string[] = [];
	const files = new Set<string>([MANIFEST_FILE]);
	for (const { file } of tokenizer ? [tokenizer, ...shards] : shards) {
		if (files.has(file.toLowerCase())) problems.push(`file ${file} is named twice`);
		files.add(file.toLowerCase());
	}

	const names = new Set<string>();
	const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
	const placed: TensorEntry[][] = shards.map(() => []);
	for (const tensor of tensors) {
		const { name, dtype, shape, shard, offset, bytes } = tensor;
		if (names.has(name)) problems.push(`tensor ${name} stands twice`);
		names.add(name);
		const expected = tensorBytes(dtype, shape);
		if (expected === null) problems.push(`tensor ${name}: shape [${shape}] overflows`);
		else if (expected !== bytes)
			problems.push(`tensor ${name}: ${dtype} [${shape}] is ${expected} bytes, not ${bytes}`);
		problems.push(...quantizationProblems(tensor, byName));
		if (offset % 4 !== 0) problems.push(`tensor ${name}: offset ${offset} is not a multiple of 4`);
		if (shard >= shards.length) problems.push(`tensor ${name}: there is no shard ${shard}, only ${shards.length}`);
		else if (offset > shards[shard].bytes - bytes) {
			problems.push(
				`tensor ${name}: bytes ${offset} to ${offset + bytes} leave shard ${shards[shard].file} of ${shards[shard].bytes} bytes`,
			);
		} else placed[shard].push(tensor);
	}
	for (const list of placed) {
		list.sort((a, b) => a.offset - b.offset);
		for (let i = 1; i < list.length; i++) {
			if (list[i].offset < list[i - 1].offset + list[i - 1].bytes)
				problems.push(`tensors ${list[i - 1].name} and ${list[i].name} overlap`);
		}
	}
	return problems;
}

function quantizationProblems(
	{ name, dtype, shape, quantization }: TensorEntry,
	byName: ReadonlyMap<string, TensorEntry>,
): string[] {
	const whole = dtype === "I8" || dtype === "I4";
	if (!quantization) return whole ? [`tensor ${name}: ${dtype} needs a quantization`] : [];
	if (!whole) return [`tensor ${name}: ${dtype} has no quantization`];
	const { group, scales } = quantization;
	if (shape.length !== 2 || shape[1] % group !== 0)
		return [`tensor ${name}: [${shape}] does not divide into groups of ${group} along its second side`];
	const of = byName.get(scales);
	const expected = [shape[0], shape[1] / group];
	return of?.dtype === "F16" && of.shape.join() === expected.join()
		? []
		: [`tensor ${name}: its scales ${scales} are not F16 [${expected}]`];
}

function configProblems(manifest: Manifest): string[] {
	const { config, schedules, defaultSchedule } = manifest;
	const problems = familyProblems(manifest);
	const { width, heads, vae } = config;
	if ("textEncoder" in config && config.textEncoder)
		problems.push(...textEncoderProblems(config.textEncoder, config.textChannels));
	if (width % heads !== 0 || (width / heads) % 4 !== 0)
		problems.push(`width ${width} over ${heads} heads does not give a head size that is a multiple of 4`);
	for (const multiplier of vae.multipliers) {
		if ((vae.baseChannels * multiplier) % vae.normGroups !== 0) {
			problems.push(`decoder width ${vae.baseChannels * multiplier} is not a multiple of normGroups ${vae.normGroups}`);
		}
	}
	if (!Object.hasOwn(schedules, defaultSchedule))
		problems.push(`default schedule ${defaultSchedule} is not one of ${Object.keys(schedules).join(", ") || "(none)"}`);
	const patch = patchify(config) * 2 ** (vae.multipliers.length - 1);
	for (const [name, { grids, image }] of Object.entries(schedules)) {
		const [height, width] = grids[grids.length - 1];
		if (image.height !== height * patch || image.width !== width * patch) {
			problems.push(
				`schedule ${name}: last grid ${height}x${width} decodes to ${height * patch}x${width * patch} pixels, not ${image.height}x${image.width}`,
			);
		}
	}
	return problems;
}

function familyProblems({ family, config, schedules }: Manifest): string[] {
	switch (family) {
		case "infinity":
			return infinityProblems(config, schedules);
		case "var":
			return varProblems(config, schedules);
		case "star":
			return starProblems(config, schedules);
		case "hart":
			return hartProblems(config, schedules);
	}
}

/** Tokens of the picture tokenizer per side of one of the transformer. */
export const patchify = (config: Manifest["config"]): number => ("patchify" in config ? (config.patchify ?? 1) : 1);

/** [from, to) blocks of each chunk, as StageVAR counts them; a family without chunks has one for every block. */
function chunksOf({ depth, ...config }: Manifest["config"]): [number, number][] {
	const blocks = "chunkBlocks" in config ? config.chunkBlocks : 1;
	return Array.from({ length: Math.ceil(depth / blocks) }, (_, chunk) => [chunk * blocks, (chunk + 1) * blocks]);
}

/** `sha256:…` of the manifest's bytes: the model's identity, since the manifest holds the hash of every shard. */
export function manifestDigest(bytes: Uint8Array): string {
	return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** What the edge, the page and the policies may know of the model, as long as nothing was measured of it. */
export function modelInfo(manifest: Manifest, digest: string): ModelInfo {
	const { config } = manifest;
	return {
		id: manifest.name,
		digest,
		family: manifest.family,
		schedules: manifest.schedules,
		defaultSchedule: manifest.defaultSchedule,
		blocks: config.depth,
		chunks: chunksOf(config),
		bitsPerToken: "bits" in config ? config.bits * patchify(config) ** 2 : Math.log2(config.codebook.vocabulary),
		maxPromptTokens:
			"textMaxTokens" in config
				? Math.min(
						config.textMaxTokens,
						"textEncoder" in config ? (config.textEncoder?.maxTokens ?? Infinity) : Infinity,
					)
				: 0,
		...(manifest.family === "star" || manifest.family === "hart"
			? { lowRank: { rope: "kept" as const, mostTokens: config.width } }
			: {}),
		...(manifest.family === "infinity" ? { guidesByText: true } : {}),
		...("classes" in config ? { classes: config.classes } : {}),
		sampling: manifest.sampling,
		calibration: {},
	};
}

/** The shape of an Infinity model. Throws ModelFormatError for one of another family. */
export function infinityConfigOf(manifest: Manifest): InfinityConfig {
	if (manifest.family !== "infinity")
		throw new ModelFormatError(
			`${manifest.name} is a model of the family ${manifest.family}; an Infinity model is needed here.`,
		);
	return manifest.config;
}

/** The manifest as text: one line per tensor and shard, so that a person and a diff can read it. */
export function manifestText(manifest: Manifest): string {
	const { tensors, shards, ...head } = manifest;
	const lines = (list: readonly object[]) =>
		`[\n${list.map((entry) => `\t\t${JSON.stringify(entry)}`).join(",\n")}\n\t]`;
	const fields = Object.entries(head).map(([key, value]) => `\t${JSON.stringify(key)}: ${JSON.stringify(value)}`);
	return `{\n${[...fields, `\t"tensors": ${lines(tensors)}`, `\t"shards": ${lines(shards)}`].join(",\n")}\n}\n`;
}
