/** The engine in a page or a web worker: with the browser's own device. */
export { openGpu } from "../../kernels/gpu/browser/open.ts";
export * from "./index.ts";
