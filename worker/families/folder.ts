/** A model folder as the engine takes it: its family knows it, and its policies' measurements are read. */
import { listed, ModelFormatError } from "../../model-shards/format/errors.ts";
import { type Folder, openFolder } from "../../model-shards/format/folder.ts";
import { MANIFEST_FILE } from "../../model-shards/format/manifest.ts";
import { storedMismatches } from "../../model-shards/format/mismatches.ts";
import { readPolicies } from "../../model-shards/format/policies.ts";
import type { ModelSource, ReadOptions } from "../../model-shards/format/source/source.ts";
import { MAX_INFO_TOKENIZER_BYTES } from "../protocol/limits.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import type { Families } from "./family.ts";
import { type Model, modelInfo, modelOf } from "./model.ts";

export interface ModelFolder extends Folder, Model {
	info: ModelInfo;
}
export interface FolderOptions extends ReadOptions {
	/** Those that a model may be of; left out: all. */
	families?: Families;
}

/** Reads and checks everything but the shards. Throws ModelFormatError with nothing left open. */
export async function openModelSource(
	source: ModelSource,
	{ families, ...options }: FolderOptions = {},
): Promise<ModelFolder> {
	const folder = await openFolder(source, options);
	const where = `${source.label}/${MANIFEST_FILE}`;
	const model = modelOf(folder.manifest, { families, where });
	// Kernels trust shapes: what is shorter than the configuration says would be read beyond its end.
	const problems = storedMismatches(folder.manifest.tensors, model.wanted);
	if (problems.length > 0)
		throw new ModelFormatError(
			`${where} does not hold the tensors of its configuration. Import the model again from its checkpoint:\n` +
				listed(problems),
		);
	const bare = { ...modelInfo(model, folder.digest), ...carried(folder) };
	const policies = await readPolicies(source, bare, options.signal);
	const info = policies ? { ...bare, calibration: policies.calibration, trades: policies.trades } : bare;
	return { ...folder, ...model, info };
}

/** The tokenizer, where it is small enough to travel with the model's info. */
function carried({ manifest, tokenizer }: Folder): Pick<ModelInfo, "tokenizer"> {
	if (manifest.tokenizer === null || manifest.tokenizer.bytes > MAX_INFO_TOKENIZER_BYTES) return {};
	return { tokenizer: tokenizer as ModelInfo["tokenizer"] };
}
