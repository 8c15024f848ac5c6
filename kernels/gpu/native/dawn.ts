/** Dawn's Node binding, the npm package `webgpu`. */
import { DeviceError } from "../errors.ts";
import { spreadDawnPolls } from "./dawn-events.ts";

/** By their flags. Kept: Dawn does not survive the loss of an instance whose devices live. */
const instances = new Map<string, GPU>();

/** Dawn with such flags, once a process, its classes made global. Throws DeviceError where it is not installed. */
export async function dawn(flags: string[]): Promise<GPU> {
	const key = flags.join(" ");
	const known = instances.get(key);
	if (known) return known;
	const { create, globals } = await import("webgpu").catch((error: Error) => {
		throw new DeviceError(`Node has no WebGPU of its own (${error.message}). Install Dawn's: npm install webgpu`);
	});
	if (instances.size === 0) {
		Object.assign(globalThis, globals);
		spreadDawnPolls(globals);
	}
	const instance = create(flags);
	instances.set(key, instance);
	return instance;
}
