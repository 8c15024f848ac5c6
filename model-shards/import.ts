/** Importing models: from tensors with a known configuration, from a released directory, from a reference set. */

export { type DirectoryOptions, importModelDirectory } from "./import-directory.ts";
export { type InfinityImport, importInfinity } from "./import-infinity.ts";
export { importModel, type ModelImport, modelTensors } from "./import-model.ts";
export {
	importReferenceSet,
	type ReferenceSchedules,
	type ReferenceSet,
	readReferenceSet,
	referenceSchedules,
} from "./import-reference.ts";
export { DEFAULT_SHARD_BYTES } from "./import-tensors.ts";
export { infinityConfigFromReference } from "./infinity-reference.ts";
