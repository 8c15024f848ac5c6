/** From a checkpoint's safetensors, with its official tensor names, to a model folder. */
import { readFile } from "node:fs/promises";
import type { Calibration, Sampling, Schedule } from "../worker/protocol/model-info.ts";
import type { z } from "zod";
import type { InfinityConfig } from "./infinity-config.ts";
import { infinityTensors } from "./infinity-tensors.ts";
import { type Dtype, type FamilyConfig, type Manifest, ManifestHead, ModelFormatError } from "./manifest.ts";
import { openSafetensors, type SourceTensor, type TensorSource } from "./safetensors.ts";
import { ShardWriter } from "./shard-writer.ts";
import { starTensors } from "./star-tensors.ts";
import type { TensorShape } from "./tensor-shapes.ts";
import { varTensors } from "./var-tensors.ts";

export const DEFAULT_SHARD_BYTES = 64 * 2 ** 20;

export interface ModelImport {
	/** Transformer and, under `text_encoder.`, the text encoder: a safetensors path or an open source. */
	weights: string | TensorSource;
	/** Tokenizer of the pictures; the encoder is left out. */
	vae: string | TensorSource;
	/** Path of the text tokenizer's tokenizer.json. */
	tokenizer?: string | null;
	model: FamilyConfig;
	name: string;
	schedules: Record<string, Schedule>;
	defaultSchedule: string;
	sampling: z.infer<typeof Sampling>;
	calibration: Record<string, Calibration>;
	licence: string;
	/** Folder to write. */
	out: string;
	shardBytes?: number;
}

export type InfinityImport = Omit<ModelImport, "model"> & { config: InfinityConfig };
export const importInfinity = ({ config, ...options }: InfinityImport): Promise<Manifest> => importModel({ ...options, model: { family: "infinity", config } });

/** Official names and shapes of everything that a model of this shape reads. */
export function modelTensors(model: FamilyConfig): TensorShape[] {
	switch (model.family) {
		case "infinity":
			return infinityTensors(model.config);
		case "var":
			return varTensors(model.config);
		case "star":
			return starTensors(model.config);
	}
}

/** Constants and buffers of the checkpoints that inference does not read. */
const UNUSED = /^vae\.(encoder\.|quant_conv\.|quantizer?\.)|^transformer\.class_emb\.|\.zero_k_bias$|(^|\.)(mask|lvl_1L|attn_bias_for_masking)$/;

/** Streams the needed tensors into `out`. Refuses, before writing, a checkpoint that lacks one or holds one the config does not know. */
export async function importModel(options: ModelImport): Promise<Manifest> {
	const { model, name, schedules, defaultSchedule, sampling, calibration, licence } = options;
	await using resources = new AsyncDisposableStack();
	const open = async (from: string | TensorSource) => (typeof from === "string" ? resources.use(await openSafetensors(from)) : from);
	const weights = await open(options.weights);
	const vae = await open(options.vae);
	const tokenizer = options.tokenizer ? await readFile(options.tokenizer) : null;

	const found = collect(weights, vae);
	const wanted = modelTensors(model);
	refuseMismatch(found, wanted, `${weights.label} and ${vae.label}`);

	const writer = resources.use(await ShardWriter.create(options.out, options.shardBytes ?? DEFAULT_SHARD_BYTES));
	for (const { name, shape } of wanted) {
		const { source, sourceName, tensor } = found.get(name) as Found;
		await writer.add(name, tensor.dtype as Dtype, shape, await source.read(sourceName));
	}
	const head = ManifestHead.safeParse({
		format: "firstlight-model",
		version: 1,
		name,
		family: model.family,
		config: model.config,
		schedules,
		defaultSchedule,
		sampling,
		calibration,
		tokenizer: tokenizer && (await writer.addFile("tokenizer.json", tokenizer)),
		licence,
	});
	if (!head.success) throw new ModelFormatError(`Model ${name} cannot be described: ${head.error.message}`);
	return await writer.finish(head.data);
}

interface Found {
	source: TensorSource;
	sourceName: string;
	tensor: SourceTensor;
}

function collect(weights: TensorSource, vae: TensorSource): Map<string, Found> {
	const found = new Map<string, Found>();
	for (const [sourceName, tensor] of weights.tensors) {
		found.set(sourceName.startsWith("text_encoder.") ? sourceName : `transformer.${sourceName}`, { source: weights, sourceName, tensor });
	}
	for (const [sourceName, tensor] of vae.tensors) found.set(`vae.${sourceName}`, { source: vae, sourceName, tensor });
	return found;
}

function refuseMismatch(found: ReadonlyMap<string, Found>, wanted: readonly { name: string; shape: number[] }[], label: string): void {
	const problems: string[] = [];
	for (const { name, shape } of wanted) {
		const tensor = found.get(name)?.tensor;
		if (!tensor) problems.push(`${name} is missing`);
		else if (tensor.shape.join() !== shape.join()) problems.push(`${name} has shape [${tensor.shape}], the configuration asks for [${shape}]`);
		else if (tensor.dtype !== "F32" && tensor.dtype !== "F16") problems.push(`${name} has type ${tensor.dtype}; F32 and F16 can be imported, convert it first`);
	}
	const known = new Set(wanted.map(({ name }) => name));
	for (const name of found.keys()) {
		if (!known.has(name) && !UNUSED.test(name)) problems.push(`${name} is not part of a model of this configuration`);
	}
	if (problems.length === 0) return;
	const shown = problems.slice(0, 40);
	if (problems.length > shown.length) shown.push(`and ${problems.length - shown.length} more`);
	throw new ModelFormatError(`The checkpoint in ${label} does not fit the configuration:\n${shown.map((p) => `- ${p}`).join("\n")}`);
}
