/** An Infinity checkpoint to a model folder. */
import { importModel, type ModelImport } from "./import-model.ts";
import type { InfinityConfig } from "./infinity-config.ts";
import type { Manifest } from "./manifest.ts";

export type InfinityImport = Omit<ModelImport, "model"> & { config: InfinityConfig };

export const importInfinity = ({ config, ...options }: InfinityImport): Promise<Manifest> =>
	importModel({ ...options, model: { family: "infinity", config } });
