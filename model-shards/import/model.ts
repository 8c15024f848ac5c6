/** From a checkpoint, with its official tensor names, to a model folder: the same for every family. */
import type { Described } from "../../worker/families/checkpoints.ts";
import type { Families } from "../../worker/families/family.ts";
import { familyOf } from "../../worker/families/model.ts";
import { TEXT_PREFIX } from "../../worker/families/text/tensors.ts";
import type { Manifest } from "../format/manifest.ts";
import { openCheckpoint } from "./checkpoint.ts";
import { type TensorSource, unwrapped } from "./formats/tensor-source.ts";
import { type Found, importTensors, type WriteOptions } from "./tensors.ts";

export interface ModelImport extends WriteOptions {
	/** Transformer and, under `text_encoder.`, the text encoder: a checkpoint's path or an open source. */
	weights: string | TensorSource;
	/** Tokenizer of the pictures; its encoder is left out. */
	vae: string | TensorSource;
	/** Path of the text tokenizer's tokenizer.json. */
	tokenizer?: string | null;
	head: Described;
	/** Those that it may be of; left out: all. */
	families?: Families;
}

/**
 * Streams the needed tensors into `out`. Throws ModelFormatError before writing where checkpoint and configuration do
 * not fit.
 */
export async function importModel({ head, tokenizer, families, ...options }: ModelImport): Promise<Manifest> {
	await using resources = new AsyncDisposableStack();
	const open = async (from: string | TensorSource) =>
		typeof from === "string" ? resources.use(await openCheckpoint(from)) : from;
	const weights = unwrapped(await open(options.weights));
	const vae = unwrapped(await open(options.vae));
	const found = collect(weights, vae);
	const label = `${weights.label} and ${vae.label}`;
	return await importTensors({ family: familyOf(head.family, families), head, found, label, tokenizer }, options);
}

/** The model's names of a checkpoint's tensors. */
function collect(weights: TensorSource, vae: TensorSource): Map<string, Found> {
	const found = new Map<string, Found>();
	for (const [sourceName, tensor] of weights.tensors) {
		const name = sourceName.startsWith(TEXT_PREFIX) ? sourceName : `transformer.${sourceName}`;
		found.set(name, { source: weights, sourceName, tensor });
	}
	for (const [sourceName, tensor] of vae.tensors) found.set(`vae.${sourceName}`, { source: vae, sourceName, tensor });
	return found;
}
