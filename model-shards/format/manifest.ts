/**
 * A model folder's `manifest.json`: what the model is and where its tensors lie in the shards. The schema checks the
 * form, `checkManifest` what a schema cannot see: sizes, ranges, overlaps. What the configuration means, and whether it
 * fits the schedules, is for the family to say.
 */
import { z } from "zod";
import {
	type FileEntry,
	MANIFEST_FILE,
	ModelName,
	ShardFiles,
	TokenizerFile,
} from "../../worker/protocol/model-files.ts";
import { Sampling, Schedule } from "../../worker/protocol/model-info.ts";
import { listed, ModelFormatError } from "./errors.ts";
import { formed, parseJson } from "./json.ts";
import { sha256 } from "./sha256.ts";

export { MANIFEST_FILE, MAX_MANIFEST_BYTES, MAX_SHARD_BYTES, PlainFile } from "../../worker/protocol/model-files.ts";
export type { FileEntry };

const ScheduleName = z.string().min(1).max(64);

const DTYPE_BITS = { F32: 32, F16: 16, I32: 32, I8: 8, I4: 4 } as const;
export type Dtype = keyof typeof DTYPE_BITS;

/** How the whole numbers of an I8 or I4 matrix [n, k] become values; the layout is in precision.ts. */
export const Quantization = z.strictObject({
	/** Neighbours along k that share a scale. */
	group: z.literal([32, 64]),
	/** The F16 tensor [n, k / group] of scales: `scalesOf` the matrix, whose part of the model it is in by its name. */
	scales: z.string().min(1).max(256),
});
export type Quantization = z.infer<typeof Quantization>;

/** The name of a matrix's scales. */
export const scalesOf = (matrix: string): string => `${matrix}.scales`;

export const TensorEntry = z.strictObject({
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

/** A manifest without its files. */
export const ManifestHead = z.strictObject({
	format: z.literal("firstlight-model"),
	version: z.literal(1),
	name: ModelName,
	family: z.string().min(1).max(32),
	config: z.record(z.string(), z.unknown()),
	schedules: z.record(ScheduleName, Schedule),
	defaultSchedule: ScheduleName,
	sampling: Sampling,
	tokenizer: TokenizerFile,
	licence: z.string().min(1).max(4096),
});
export type ManifestHead = z.infer<typeof ManifestHead>;
export const Manifest = z.strictObject({
	...ManifestHead.shape,
	tensors: z.array(TensorEntry).min(1).max(100_000),
	shards: ShardFiles,
});
export type Manifest = z.infer<typeof Manifest>;

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
export function parseManifest(text: string, where: string = MANIFEST_FILE): Manifest {
	const json = parseJson(text, where, "Import the model again.");
	const manifest = formed(Manifest, json, `${where} is not a model manifest this version reads`);
	checkManifest(manifest, where);
	return manifest;
}

/** Throws one ModelFormatError that lists the contradictions in the manifest. */
export function checkManifest(manifest: Manifest, where: string = MANIFEST_FILE): void {
	const problems = tensorProblems(manifest);
	const { schedules, defaultSchedule } = manifest;
	if (!Object.hasOwn(schedules, defaultSchedule))
		problems.push(`default schedule ${defaultSchedule} is not one of ${Object.keys(schedules).join(", ") || "(none)"}`);
	if (problems.length > 0) throw new ModelFormatError(`${where} contradicts itself:\n${listed(problems)}`);
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
				`tensor ${name}: bytes ${offset} to ${offset + bytes} leave shard ${shards[shard].file} of ` +
					`${shards[shard].bytes} bytes`,
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
	if (of?.dtype !== "F16" || of.shape.join() !== expected.join())
		return [`tensor ${name}: its scales ${scales} are not F16 [${expected}]`];
	return scales === scalesOf(name) ? [] : [`tensor ${name}: its scales are named ${scales}, not ${scalesOf(name)}`];
}

/** `sha256:…` of the manifest's bytes: the model's identity, since the manifest holds the hash of every shard. */
export const manifestDigest = async (bytes: Uint8Array<ArrayBuffer>): Promise<string> =>
	`sha256:${await sha256(bytes)}`;

/** The manifest as text: one line per tensor and shard, so that a person and a diff can read it. */
export function manifestText(manifest: Manifest): string {
	const { tensors, shards, ...head } = manifest;
	const lines = (list: readonly object[]) =>
		`[\n${list.map((entry) => `\t\t${JSON.stringify(entry)}`).join(",\n")}\n\t]`;
	const fields = Object.entries(head).map(([key, value]) => `\t${JSON.stringify(key)}: ${JSON.stringify(value)}`);
	return `{\n${[...fields, `\t"tensors": ${lines(tensors)}`, `\t"shards": ${lines(shards)}`].join(",\n")}\n}\n`;
}
