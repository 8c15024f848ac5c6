import { DeviceError } from "./errors.ts";
import { type AdapterFacts, factsOf, type Platform } from "./facts.ts";

export interface OpenDevice {
	adapter: GPUAdapter;
	device: GPUDevice;
	facts: AdapterFacts;
}

/**
 * Limits below the adapter's, to try what a smaller one would do: bytes of a binding and of a buffer, bytes that a
 * workgroup shares, storage buffers of a program. WebGPU grants its own defaults at least; below them, a binding's and
 * a buffer's are held by `Gpu` alone.
 */
export interface Limits {
	binding?: number;
	buffer?: number;
	workgroup?: number;
	buffers?: number;
}

/** What is asked of an adapter, in its name for it: as much as it has, or as `Limits` leave. */
const ASKED: { [name in keyof GPUSupportedLimits]?: keyof Limits | undefined } = {
	maxBufferSize: "buffer",
	maxStorageBufferBindingSize: "binding",
	maxStorageBuffersPerShaderStage: "buffers",
	maxComputeWorkgroupStorageSize: "workgroup",
	maxComputeInvocationsPerWorkgroup: undefined,
	maxComputeWorkgroupSizeX: undefined,
	maxComputeWorkgroupsPerDimension: undefined,
};

/** Used where the adapter has them: timestamps by a profile alone. */
const WANTED = [
	"subgroups",
	"shader-f16",
	"timestamp-query",
	"chromium-experimental-subgroup-matrix" as GPUFeatureName,
] as const;

/**
 * The best adapter that `webgpu` has, with all of its limits, or as far as `asked` goes. Throws DeviceError where there
 * is none; `advice` says what to do then.
 */
export async function requestDevice(
	webgpu: GPU,
	platform: Platform,
	advice: string,
	asked: Limits = {},
): Promise<OpenDevice> {
	const adapter = await webgpu.requestAdapter({ powerPreference: "high-performance" });
	if (!adapter) throw new DeviceError(`No WebGPU adapter was found. ${advice}`);
	const device = await adapter.requestDevice({
		label: "firstlight",
		requiredFeatures: WANTED.filter((feature) => adapter.features.has(feature)),
		requiredLimits: limitsOf(adapter, asked),
	});
	return { adapter, device, facts: factsOf(adapter.info, device, platform) };
}

/** What a device of this adapter is to have. */
export function limitsOf({ limits }: Pick<GPUAdapter, "limits">, asked: Limits = {}): Record<string, number> {
	const names = Object.entries(ASKED) as [Exclude<keyof GPUSupportedLimits, "__brand">, keyof Limits | undefined][];
	return Object.fromEntries(
		names.flatMap(([name, less]) => {
			const most = limits[name];
			// What an implementation does not know of is not asked for.
			return most === undefined ? [] : [[name, Math.min(most, (less && asked[less]) ?? Infinity)]];
		}),
	);
}
