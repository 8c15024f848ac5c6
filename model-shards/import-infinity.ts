/** From an Infinity checkpoint, with its official tensor names, to a model folder. */
import type { z } from "zod";
import type { Calibration, Sampling, Schedule } from "../worker/protocol/model-info.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { type Found, importTensors, type WriteOptions } from "./import-tensors.ts";
import type { InfinityConfig } from "./infinity-config.ts";
import { infinityTensors } from "./infinity-tensors.ts";
import type { Manifest } from "./manifest.ts";
import type { TensorSource } from "./tensor-source.ts";

export interface InfinityImport extends WriteOptions {
	/** Transformer and, under `text_encoder.`, the text encoder: a checkpoint's path or an open source. */
	weights: string | TensorSource;
	/** Tokenizer of the pictures; only `decoder.*` of it is kept. */
	vae: string | TensorSource;
	/** Path of the text tokenizer's tokenizer.json. */
	tokenizer?: string | null;
	config: InfinityConfig;
	name: string;
	schedules: Record<string, Schedule>;
	defaultSchedule: string;
	sampling: z.infer<typeof Sampling>;
	calibration: Record<string, Calibration>;
	licence: string;
}

/** What inference does not read: constants, buffers, and of the tokenizer's file all but the decoder (some hold a discriminator). */
export const INFINITY_UNUSED = /^vae\.(?!decoder\.)|\.zero_k_bias$|(^|\.)(mask|lvl_1L|attn_bias_for_masking)$/;

/** Streams the needed tensors into `out`. Throws ModelFormatError before writing where checkpoint and configuration do not fit. */
export async function importInfinity({ config, name, schedules, defaultSchedule, sampling, calibration, licence, tokenizer, ...options }: InfinityImport): Promise<Manifest> {
	await using resources = new AsyncDisposableStack();
	const open = async (from: string | TensorSource) => (typeof from === "string" ? resources.use(await openCheckpoint(from)) : from);
	const weights = await open(options.weights);
	const vae = await open(options.vae);
	return await importTensors(
		{
			found: infinityFound(weights, vae),
			wanted: infinityTensors(config),
			unused: INFINITY_UNUSED,
			label: `${weights.label} and ${vae.label}`,
			head: { name, family: "infinity", config, schedules, defaultSchedule, sampling, calibration, licence },
			tokenizer,
		},
		options,
	);
}

/** The model's names of a checkpoint's tensors. */
export function infinityFound(weights: TensorSource, vae: TensorSource): Map<string, Found> {
	const found = new Map<string, Found>();
	for (const [sourceName, tensor] of weights.tensors) {
		found.set(sourceName.startsWith("text_encoder.") ? sourceName : `transformer.${sourceName}`, { source: weights, sourceName, tensor });
	}
	for (const [sourceName, tensor] of vae.tensors) found.set(`vae.${sourceName}`, { source: vae, sourceName, tensor });
	return found;
}
