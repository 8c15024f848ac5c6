/**
 * The manifest that an import of a published size would write, without its numbers or their places: for tables and
 * tests on paper.
 */

import { type Manifest, ModelFormatError, tensorBytes } from "../format/manifest.ts";
import type { Precision } from "../format/precision.ts";
import { modelTensors } from "./model.ts";
import { families } from "./published.ts";
import { plannedTensors } from "./tensors.ts";

/** Throws ModelFormatError for a family or size that was not published. */
export function plannedManifest(family: string, size: string, precision: Precision = "f32"): Manifest {
	if (!Object.hasOwn(families, family))
		throw new ModelFormatError(`There is no family ${family}. There are: ${Object.keys(families).join(", ")}.`);
	const { head } = families[family].describe(size);
	const tensors = plannedTensors(modelTensors(head), precision).map((tensor) => ({
		...tensor,
		shard: 0,
		offset: 0,
		bytes: tensorBytes(tensor.dtype, tensor.shape) as number,
	}));
	return { ...head, format: "firstlight-model", version: 1, tokenizer: null, tensors, shards: [] };
}
