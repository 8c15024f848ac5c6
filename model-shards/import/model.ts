/** From a checkpoint, with its official tensor names, to a model folder: the same for every family. */
import type { z } from "zod";
import { hartTensors } from "../../worker/families/hart/tensors.ts";
import { infinityTensors } from "../../worker/families/infinity/tensors.ts";
import { starTensors } from "../../worker/families/star/tensors.ts";
import { varTensors } from "../../worker/families/var/tensors.ts";
import type { Sampling, Schedule } from "../../worker/protocol/model-info.ts";
import type { FamilyConfig, Manifest } from "../format/manifest.ts";
import type { TensorShape } from "../format/tensor-shapes.ts";
import { openCheckpoint } from "./checkpoint.ts";
import type { TensorSource } from "./formats/tensor-source.ts";
import { type Found, importTensors, type WriteOptions } from "./tensors.ts";

export interface ModelImport extends WriteOptions {
	/** Transformer and, under `text_encoder.`, the text encoder: a checkpoint's path or an open source. */
	weights: string | TensorSource;
	/** Tokenizer of the pictures; its encoder is left out. */
	vae: string | TensorSource;
	/** Path of the text tokenizer's tokenizer.json. */
	tokenizer?: string | null;
	model: FamilyConfig;
	name: string;
	schedules: Record<string, Schedule>;
	defaultSchedule: string;
	sampling: z.infer<typeof Sampling>;
	licence: string;
}

/** Official names and shapes of everything that a model of this shape reads. */
export function modelTensors(model: FamilyConfig): TensorShape[] {
	switch (model.family) {
		case "infinity":
			return infinityTensors(model.config);
		case "var":
			return varTensors(model.config);
		case "star":
			return starTensors(model.config);
		case "hart":
			return hartTensors(model.config);
	}
}

/**
 * What inference may leave unread: constants, buffers, the class embedding that STAR inherits, and of the tokenizer's
 * file what no decoder needs (some hold a discriminator).
 */
export const UNUSED =
	/^vae\.(?!decoder\.)|^transformer\.class_emb\.|\.zero_k_bias$|(^|\.)(mask|lvl_1L|attn_bias_for_masking)$/;

/**
 * Streams the needed tensors into `out`. Throws ModelFormatError before writing where checkpoint and configuration do
 * not fit.
 */
export async function importModel({
	model,
	name,
	schedules,
	defaultSchedule,
	sampling,
	licence,
	tokenizer,
	...options
}: ModelImport): Promise<Manifest> {
	await using resources = new AsyncDisposableStack();
	const open = async (from: string | TensorSource) =>
		typeof from === "string" ? resources.use(await openCheckpoint(from)) : from;
	const weights = await open(options.weights);
	const vae = await open(options.vae);
	return await importTensors(
		{
			found: collect(weights, vae),
			wanted: modelTensors(model),
			unused: UNUSED,
			label: `${weights.label} and ${vae.label}`,
			head: { ...model, name, schedules, defaultSchedule, sampling, licence },
			tokenizer,
		},
		options,
	);
}

/** The model's names of a checkpoint's tensors. */
function collect(weights: TensorSource, vae: TensorSource): Map<string, Found> {
	const found = new Map<string, Found>();
	for (const [sourceName, tensor] of weights.tensors) {
		found.set(sourceName.startsWith("text_encoder.") ? sourceName : `transformer.${sourceName}`, {
			source: weights,
			sourceName,
			tensor,
		});
	}
	for (const [sourceName, tensor] of vae.tensors) found.set(`vae.${sourceName}`, { source: vae, sourceName, tensor });
	return found;
}
