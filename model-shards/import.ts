/** Importing models: from tensors with a known configuration, from a released directory, from a reference set. */
export { importInfinity, type InfinityImport } from "./import-infinity.ts";
export { importModel, type ModelImport, modelTensors } from "./import-model.ts";
export { DEFAULT_SHARD_BYTES } from "./import-tensors.ts";
export { type DirectoryOptions, importModelDirectory } from "./import-directory.ts";
export { importReferenceSet, readReferenceSet, type ReferenceSchedules, referenceSchedules, type ReferenceSet } from "./import-reference.ts";
export { infinityConfigFromReference } from "./infinity-reference.ts";
