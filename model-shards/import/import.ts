/** Importing models: from tensors with a known configuration, from a released directory, from a reference set. */

export { infinityConfigFromReference } from "../../worker/families/infinity/official.ts";
export { type DirectoryOptions, importModelDirectory } from "./directory.ts";
export { type InfinityImport, importInfinity } from "./import-infinity.ts";
export { importModel, type ModelImport, modelTensors } from "./model.ts";
export {
	importReferenceSet,
	type ReferenceSchedules,
	type ReferenceSet,
	readReferenceSet,
	referenceSchedules,
} from "./reference.ts";
export { DEFAULT_SHARD_BYTES } from "./tensors.ts";
