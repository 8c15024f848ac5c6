/** An Infinity checkpoint to a model folder. */

import type { InfinityConfig } from "../../worker/families/infinity/config.ts";
import type { Manifest } from "../format/manifest.ts";
import { importModel, type ModelImport } from "./model.ts";

export type InfinityImport = Omit<ModelImport, "model"> & { config: InfinityConfig };

export const importInfinity = ({ config, ...options }: InfinityImport): Promise<Manifest> =>
	importModel({ ...options, model: { family: "infinity", config } });
