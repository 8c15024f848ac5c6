import { DeviceError } from "./errors.ts";
import { type AdapterFacts, factsOf, type Platform } from "./facts.ts";

export interface OpenDevice {
	adapter: GPUAdapter;
	device: GPUDevice;
	facts: AdapterFacts;
}

/** Used where the adapter has them: timestamps by a profile alone. */
const WANTED = [
	"subgroups",
	"shader-f16",
	"timestamp-query",
	"chromium-experimental-subgroup-matrix" as GPUFeatureName,
] as const;

/**
 * The best adapter that `webgpu` has, with all of its limits. Throws DeviceError where there is none; `advice` says
 * what to do then.
 */
export async function requestDevice(webgpu: GPU, platform: Platform, advice: string): Promise<OpenDevice> {
	const adapter = await webgpu.requestAdapter({ powerPreference: "high-performance" });
	if (!adapter) throw new DeviceError(`No WebGPU adapter was found. ${advice}`);
	const { limits } = adapter;
	const device = await adapter.requestDevice({
		label: "firstlight",
		requiredFeatures: WANTED.filter((feature) => adapter.features.has(feature)),
		requiredLimits: {
			maxBufferSize: limits.maxBufferSize,
			maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
			maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
			maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
			maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
		},
	});
	return { adapter, device, facts: factsOf(adapter.info, device, platform) };
}
