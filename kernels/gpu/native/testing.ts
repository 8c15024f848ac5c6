/** The device of a process that runs tests. */
import type { Gpu } from "../gpu.ts";
import { openGpu } from "./open.ts";

let shared: Promise<Gpu> | undefined;

/**
 * The device that the test files of a process share: what one of them had compiled is there for the next, and compiling
 * is most of what they take. Nobody destroys it; who loses a device, or sets something on it, opens one of their own.
 */
export const sharedGpu = (): Promise<Gpu> => (shared ??= openGpu());
