/**
 * Dawn's null backend: it checks programs, limits and commands as ever, copies buffers, and computes nothing. For what
 * the host does by itself, and for features that no adapter at hand has.
 */
import { DeviceError } from "../errors.ts";
import type { AdapterFacts } from "../facts.ts";
import { type Limits, limitsOf } from "../request.ts";
import { dawn } from "./dawn.ts";

/**
 * A device with half precision and subgroups, and all of the adapter's limits, or as far as `limits` go. Throws
 * DeviceError where Dawn has no null backend.
 */
export async function openNullDevice(limits?: Limits): Promise<GPUDevice> {
	const instance = await dawn(["backend=null", "enable-dawn-features=disable_robustness,allow_unsafe_apis"]);
	const adapter = await instance.requestAdapter();
	if (!adapter) throw new DeviceError("Dawn has no null backend here. Run `npm ci` again: it comes with webgpu.");
	return await adapter.requestDevice({
		label: "null",
		requiredFeatures: ["subgroups", "shader-f16"],
		requiredLimits: limitsOf(adapter, limits),
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
