/**
 * Opens a device outside a browser: a real GPU through the system's driver, else SwiftShader. On Node by Dawn (npm
 * `webgpu`), on Deno by its own wgpu.
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { DeviceError } from "../errors.ts";
import type { Platform } from "../facts.ts";
import { Gpu } from "../gpu.ts";
import { type OpenDevice, requestDevice } from "../request.ts";
import { slowDawnPolls } from "./dawn-events.ts";
import { deno } from "./deno.ts";
import { offerSwiftShader } from "./swiftshader.ts";
import { diskTuning } from "./tune-cache.ts";

/**
 * Dawn's switches. disable_robustness: every index of our kernels follows from shapes checked before recording and is
 * clamped where a tile overhangs, so Dawn's own clamp of each load proves nothing new; on SwiftShader it costs a
 * quarter of the time of a matmul and half of that of compiling it. The kernels run no WGSL but ours. The others open
 * half precision and tensor cores on NVIDIA. Without timestamp_quantization a profile sees less than 0.1 ms.
 */
const DAWN = [
	"enable-dawn-features=disable_robustness,allow_unsafe_apis,vulkan_enable_f16_on_nvidia,use_vulkan_memory_model",
	"disable-dawn-features=timestamp_quantization",
];

const ADVICE =
	"A GPU driver with Vulkan, Metal or D3D12 is needed; on Linux x64 the npm packages @sparticuz/chromium and tar-fs " +
	"do instead, with SwiftShader (in a checkout: run `npm ci` again).";

/**
 * Opens the best adapter; measured choices are kept on disk. `bindingBytes`: a limit below the adapter's, to try what a
 * smaller one would do. Throws DeviceError with what to do when there is none.
 */
export async function openGpu(bindingBytes?: number): Promise<Gpu> {
	const { device, facts } = await openDevice();
	const gpu = new Gpu(device, facts, bindingBytes);
	gpu.tuningStore = diskTuning();
	return gpu;
}

/** Opens the best adapter with all of its limits. Throws DeviceError with what to do when there is none. */
export async function openDevice(): Promise<OpenDevice> {
	await offerSwiftShader();
	const opened = await requestDevice(await openWebGpu(), platform(), ADVICE);
	if (opened.facts.software && !deno) slowDawnPolls();
	return opened;
}

function platform(): Platform {
	return deno
		? { runtime: "deno", implementation: "wgpu", version: `deno ${deno.version.deno}` }
		: { runtime: "node", implementation: "Dawn", version: `dawn ${packageVersion("webgpu")}` };
}

function packageVersion(name: string): string {
	const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`);
	return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
}

// One GPU object a process: Dawn keeps its instance alive through it, and Deno has only the one.
let webGpu: GPU | undefined;

async function openWebGpu(): Promise<GPU> {
	if (webGpu) return webGpu;
	if (deno) return (webGpu = navigator.gpu);
	const { create, globals } = await import("webgpu").catch((error: Error) => {
		throw new DeviceError(`Node has no WebGPU of its own (${error.message}). Install Dawn's: npm install webgpu`);
	});
	Object.assign(globalThis, globals);
	return (webGpu = create(DAWN));
}
