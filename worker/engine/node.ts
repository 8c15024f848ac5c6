/** The engine on Node: with a device by Dawn, and models of this machine beside those of a URL. */
export { openGpu } from "../../kernels/gpu/native/open.ts";
export { openModelAt } from "../../model-shards/open.ts";
export * from "./index.ts";
