/** Workgroups of 64 threads, which most kernels run in. */
import type { Gpu } from "./gpu.ts";

/** How many of `size` threads cover `threads`. */
export const groups = (threads: number, size = 64) => Math.ceil(threads / size);

const MOST = 32768;
/** Those that cover any number of threads, in x and y (a dimension holds 65535 at most). */
export const flatGroups = (threads: number): [number, number] => [
	Math.min(groups(threads), MOST),
	Math.ceil(groups(threads) / MOST),
];
/** WGSL of such a workgroup's index. */
export const FLAT_GROUP = `(group.y * ${MOST}u + group.x)`;
/** Whether an adapter takes so many in each dimension. */
export const dispatchable = ({ device }: Gpu, groups: readonly number[]): boolean =>
	groups.every((count) => count <= device.limits.maxComputeWorkgroupsPerDimension);

/** WGSL of such a thread's index. */
export const FLAT = `(id.y * ${MOST * 64}u + id.x)`;
