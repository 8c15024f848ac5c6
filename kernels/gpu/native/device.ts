/**
 * Finds the adapter: a real GPU through the system's Vulkan driver, else SwiftShader out of the npm package
 * `@sparticuz/chromium`, so that a machine with neither GPU nor system packages still runs every kernel.
 * Works on Node (Dawn, npm `webgpu`) and on Deno (wgpu).
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { constants, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { createBrotliDecompress } from "node:zlib";
import { extract } from "tar-fs";
import { slowDawnPolls } from "./dawn-events.ts";

/** What runs the kernels, for people and for the numerics id. */
export interface AdapterFacts {
	name: string;
	/** True when the adapter runs on the CPU. Say so wherever the adapter is named. */
	software: boolean;
	runtime: "node" | "deno";
	driver: string;
	/** Invocations that run in lockstep at least (the smallest subgroup), 0 when the adapter does not say. */
	lanes: number;
	/** What its subgroup matrices (tensor cores) multiply: f16 with f32 sums. */
	matrix?: MatrixShape;
}
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
export interface OpenDevice {
	adapter: GPUAdapter;
	device: GPUDevice;
	facts: AdapterFacts;
}

interface DenoNamespace {
	version: { deno: string };
	dlopen(path: string, symbols: object): unknown;
}
const deno = (globalThis as { Deno?: DenoNamespace }).Deno;

/** Used where the adapter has them. */
const WANTED = [
	"subgroups",
	"shader-f16",
	"timestamp-query",
	"chromium-experimental-subgroup-matrix" as GPUFeatureName,
] as const;

/**
 * Dawn's switches. disable_robustness: every index of our kernels follows from shapes checked before recording and is
 * clamped where a tile overhangs, so Dawn's own clamp of each load proves nothing new; on SwiftShader it costs a
 * quarter of the time of a matmul and half of that of compiling it. The kernels run no WGSL but ours. The others open
 * half precision and tensor cores on NVIDIA.
 */
const DAWN = [
	"enable-dawn-features=disable_robustness,allow_unsafe_apis,vulkan_enable_f16_on_nvidia,use_vulkan_memory_model",
];

/** Opens the best adapter with all of its limits. Throws DeviceError with what to do when there is none. */
export async function openDevice(): Promise<OpenDevice> {
	await offerSwiftShader();
	const gpu = await openWebGpu();
	const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
	if (!adapter) {
		throw new DeviceError(
			"No WebGPU adapter was found, not even the bundled SwiftShader. Run `npm ci` again; on other systems than Linux x64 a GPU driver with Vulkan, Metal or D3D12 is needed.",
		);
	}
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
	const facts = describe(adapter.info, device);
	if (facts.software && !deno) slowDawnPolls();
	return { adapter, device, facts };
}

/** Thrown when no device can be had, or the device in use was lost. */
export class DeviceError extends Error {
	override name = "DeviceError";
}

/** Thrown when a tensor does not fit the device: its memory, or what one binding holds. */
export class OutOfMemoryError extends DeviceError {
	override name = "OutOfMemoryError";
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

function describe(info: GPUAdapterInfo, { features, limits }: GPUDevice): AdapterFacts {
	const text = [info.description, info.device, info.architecture, info.vendor].filter(Boolean).join(" ");
	const software = info.isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|software/i.test(text);
	const short = info.description || info.device || info.vendor || "unnamed adapter";
	return {
		name: `${short}${software ? " (software, on the CPU)" : ""} via ${deno ? "wgpu" : "Dawn"}`,
		software,
		runtime: deno ? "deno" : "node",
		lanes: info.subgroupMinSize ?? 0,
		matrix: matrixOf(info, features, limits),
		driver: `${text} / ${deno ? `deno ${deno.version.deno}` : `dawn ${dawnVersion()}`}`,
	};
}

const dawnVersion = () => packageVersion("webgpu");

function packageVersion(name: string): string {
	const manifest = createRequire(import.meta.url).resolve(`${name}/package.json`);
	return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
}

// One GPU object a process: Dawn keeps its instance alive through it, and Deno has only the one.
let webGpu: GPU | undefined;

async function openWebGpu(): Promise<GPU> {
	if (webGpu) return webGpu;
	if (deno) return (webGpu = navigator.gpu);
	const { create, globals } = await import("webgpu");
	Object.assign(globalThis, globals);
	return (webGpu = create(DAWN));
}

/**
 * Adds SwiftShader to the Vulkan loader's drivers (VK_ADD_DRIVER_FILES: a real driver still comes first, and a user's
 * own VK_DRIVER_FILES replaces both), and loads the loader that comes with it where the system has none.
 */
async function offerSwiftShader(): Promise<void> {
	if (process.platform !== "linux" || process.arch !== "x64") return;
	const folder = await unpackSwiftShader();
	process.env.VK_ADD_DRIVER_FILES ??= join(folder, "vk_swiftshader_icd.json");
	// Dawn and wgpu later ask for this name and get what is loaded already, whatever LD_LIBRARY_PATH says.
	if (!loadLibrary("libvulkan.so.1")) loadLibrary(join(folder, "libvulkan.so.1"));
}

function loadLibrary(path: string): boolean {
	if (deno) {
		try {
			deno.dlopen(path, {});
			return true;
		} catch {
			return false;
		}
	}
	const RTLD_NODELETE = 0x1000;
	try {
		process.dlopen({ exports: {} }, path, constants.dlopen.RTLD_NOW | RTLD_NODELETE);
		return true;
	} catch (error) {
		// A library that is no Node addon is refused after it was loaded, and NODELETE keeps it loaded.
		return String(error).includes("did not self-register");
	}
}

/** Unpacks SwiftShader once a machine, into the folder of temporary files; returns the folder. */
async function unpackSwiftShader(): Promise<string> {
	const archive = join(
		dirname(fileURLToPath(import.meta.resolve("@sparticuz/chromium"))),
		"..",
		"bin",
		"swiftshader.tar.br",
	);
	const folder = join(tmpdir(), `firstlight-swiftshader-${versionBeside(archive)}-${process.getuid?.() ?? 0}`);
	const done = join(folder, "unpacked");
	if (existsSync(done)) return folder;
	// Into a folder of our own first, so that two processes starting together never see half a library.
	const own = `${folder}.${process.pid}`;
	mkdirSync(own, { recursive: true, mode: 0o700 });
	await pipeline(Readable.from([readFileSync(archive)]), createBrotliDecompress(), extract(own));
	writeFileSync(join(own, "unpacked"), "");
	try {
		renameSync(own, folder);
	} catch {
		rmSync(own, { recursive: true, force: true });
		if (!existsSync(done))
			throw new DeviceError(`SwiftShader could not be unpacked to ${folder}. Delete that folder and start again.`);
	}
	return folder;
}

function versionBeside(archive: string): string {
	const manifest = join(dirname(archive), "..", "package.json");
	return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
}
