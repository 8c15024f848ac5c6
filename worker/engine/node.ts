/** The engine on Node: with a device by Dawn, and models of this machine beside those of a URL. */
import { Gpu } from "../../kernels/gpu/gpu.ts";

export { openModelAt } from "../../model-shards/format/folder.ts";
export * from "./index.ts";

/** Opens the best adapter, SwiftShader where there is no other. Throws DeviceError when there is none. */
export const openGpu = (): Promise<Gpu> => Gpu.open();
