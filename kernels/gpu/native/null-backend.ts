/**
 * Dawn's null backend: it checks programs, limits and commands as ever, copies buffers, and computes nothing. For what
 * the host does by itself, and for features that no adapter at hand has.
 */
import { DeviceError } from "../errors.ts";
import type { AdapterFacts } from "../facts.ts";
import { dawn } from "./dawn.ts";

/** A device with half precision and subgroups. Throws DeviceError where Dawn has no null backend. */
export async function openNullDevice(): Promise<GPUDevice> {
	const instance = await dawn(["backend=null", "enable-dawn-features=disable_robustness,allow_unsafe_apis"]);
	const adapter = await instance.requestAdapter();
	if (!adapter) throw new DeviceError("Dawn has no null backend here. Run `npm ci` again: it comes with webgpu.");
	const { maxBufferSize, maxStorageBufferBindingSize, maxStorageBuffersPerShaderStage } = adapter.limits;
	return await adapter.requestDevice({
		label: "null",
		requiredFeatures: ["subgroups", "shader-f16"],
		requiredLimits: { maxBufferSize, maxStorageBufferBindingSize, maxStorageBuffersPerShaderStage },
	});
}

/** Kernels are chosen as on a GPU with subgroups of 32. */
export const NULL_FACTS: AdapterFacts = {
	name: "nothing (Dawn's null backend)",
	software: false,
	late: false,
	runtime: "node",
	driver: "dawn null",
	lanes: 32,
};
