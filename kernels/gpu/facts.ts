/** What an adapter is, in plain data. */

/** What runs the kernels, for people and for the numerics id. */
export interface AdapterFacts {
	name: string;
	/** True when the adapter runs on the CPU. Say so wherever the adapter is named. */
	software: boolean;
	/** Its driver compiles a program when it first runs, on one thread, and not when it is made (Mesa's llvmpipe). */
	late: boolean;
	runtime: Runtime;
	driver: string;
	/** Invocations that run in lockstep at least (the smallest subgroup), 0 when the adapter does not say. */
	lanes: number;
	/** What its subgroup matrices (tensor cores) multiply: f16 with f32 sums. */
	matrix?: MatrixShape;
}
export type Runtime = "node" | "deno" | "browser";

/**
 * [m, k] times [k, n], by a subgroup of at most `lanes` invocations, of which a workgroup holds `subgroups` (4 at
 * most).
 */
export interface MatrixShape {
	m: number;
	n: number;
	k: number;
	lanes: number;
	subgroups: number;
}

/** Where the adapter was found. */
export interface Platform {
	runtime: Runtime;
	/** The implementation of WebGPU as people know it: Dawn, wgpu. */
	implementation: string;
	/** What names the implementation and its version: bits may change with it. */
	version: string;
}

/** As Dawn reports it (not yet in the types). */
interface MatrixConfig {
	componentType: string;
	resultComponentType: string;
	M: number;
	N: number;
	K: number;
}

/** The largest f16 matrices with f32 sums that an adapter has. */
export function matrixOf(
	info: GPUAdapterInfo,
	features: ReadonlySet<string>,
	limits: Pick<GPUSupportedLimits, "maxComputeInvocationsPerWorkgroup">,
): MatrixShape | undefined {
	if (!["chromium-experimental-subgroup-matrix", "subgroups", "shader-f16"].every((feature) => features.has(feature)))
		return;
	const configs = [
		...((info as GPUAdapterInfo & { subgroupMatrixConfigs?: Iterable<MatrixConfig> }).subgroupMatrixConfigs ?? []),
	];
	const lanes = info.subgroupMaxSize;
	const subgroups = [4, 2, 1].find((count) => count * lanes <= limits.maxComputeInvocationsPerWorkgroup);
	if (!subgroups) return;
	const shapes = configs
		.filter((config) => config.componentType === "f16" && config.resultComponentType === "f32")
		.map(({ M, N, K }) => ({ m: M, n: N, k: K, lanes, subgroups }));
	return shapes.sort((a, b) => b.m * b.n * b.k - a.m * a.n * a.k)[0];
}

/** The facts of an adapter, as its open device has them. */
export function factsOf(
	info: GPUAdapterInfo,
	{ features, limits }: Pick<GPUDevice, "features" | "limits">,
	{ runtime, implementation, version }: Platform,
): AdapterFacts {
	const text = [info.description, info.device, info.architecture, info.vendor].filter(Boolean).join(" ");
	const software = info.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|software/i.test(text);
	const short = info.description || info.device || info.vendor || "unnamed adapter";
	return {
		name: `${short}${software ? " (software, on the CPU)" : ""} via ${implementation}`,
		software,
		late: /llvmpipe|lavapipe/i.test(text),
		runtime,
		lanes: info.subgroupMinSize ?? 0,
		matrix: matrixOf(info, features, limits),
		driver: `${text} / ${version}`,
	};
}
