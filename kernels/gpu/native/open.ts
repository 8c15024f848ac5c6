/**
 * Opens a device outside a browser: a real GPU through the system's driver, else SwiftShader. On Node by Dawn (npm
 * `webgpu`), on Deno by its own wgpu.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { SlowAdapterError } from "../errors.ts";
import type { Platform } from "../facts.ts";
import { bindingLimit, Gpu } from "../gpu.ts";
import { type Limits, type OpenDevice, requestDevice } from "../request.ts";
import { cacheFolder } from "./cache-settings.ts";
import { dawn } from "./dawn.ts";
import { deno } from "./deno.ts";
import { hasLlvmpipe, LLVMPIPE } from "./llvmpipe.ts";
import { offerSwiftShader, SWIFTSHADER } from "./swiftshader.ts";
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
 * Opens the best adapter; measured choices are kept on disk. `limits`: below the adapter's, to try what a smaller one
 * would do. Throws DeviceError with what to do when there is none.
 */
export async function openGpu(limits: Limits = {}): Promise<Gpu> {
	return gpuOf(await openDevice(undefined, limits), limits);
}

/** What a software adapter's driver may take to compile our kernels where SwiftShader, which takes ten, is at hand. */
const PATIENCE_MS = 30_000;

/**
 * Opens the best adapter that is ready in reasonable time, and has `prepare` make it so: Mesa's before SwiftShader,
 * which takes its place where it compiles our kernels too slowly, and `say` is told. `patience`: milliseconds for
 * compiling, other than usual. Throws what `openGpu` and `prepare` throw.
 */
export async function openReady<T>(
	prepare: (gpu: Gpu) => Promise<T>,
	say: (line: string) => void,
	patience?: number,
): Promise<T> {
	const gpu = await openFastest();
	gpu.patience = patience ?? (gpu.facts.late && !driverNamed() ? PATIENCE_MS : undefined);
	try {
		const prepared = await prepare(gpu);
		gpu.patience = undefined;
		return prepared;
	} catch (error) {
		gpu.destroy();
		if (!(error instanceof SlowAdapterError)) throw error;
		const other = gpuOf(await openDevice(SWIFTSHADER).catch(() => openDevice()));
		say(
			`${error.message} ${other.facts.name} computes in its place this time; what was compiled is kept, and ` +
				"`VK_DRIVER_FILES=.../lvp_icd.json npx firstlight bench --compile --model NAME` compiles the rest.",
		);
		return await prepare(other);
	}
}

/**
 * The best adapter, and of software adapters Mesa's, where the system lists it: it takes half of SwiftShader's time
 * (docs/operating.md).
 */
export async function openFastest(): Promise<Gpu> {
	const gpu = await openGpu();
	if (driverNamed() || !gpu.facts.name.includes(SWIFTSHADER) || !hasLlvmpipe()) return gpu;
	const mesa = await openDevice(LLVMPIPE).catch(() => undefined);
	if (!mesa) return gpu;
	gpu.destroy();
	return gpuOf(mesa);
}

/** Deno has one choice a process; a driver that somebody named is the one, and waited for. */
const driverNamed = (): boolean =>
	deno !== undefined || Boolean(process.env.VK_DRIVER_FILES || process.env.VK_ICD_FILENAMES);

function gpuOf({ device, facts }: OpenDevice, { binding = Infinity, buffer = Infinity }: Limits = {}): Gpu {
	const bufferBytes = Math.min(buffer, device.limits.maxBufferSize);
	const gpu = new Gpu(device, facts, Math.min(binding, bindingLimit(device)), bufferBytes);
	gpu.tuningStore = diskTuning();
	return gpu;
}

/**
 * Opens the best adapter, or the best with this in its name, with all of its limits, or as far as `limits` go. Throws
 * DeviceError with what to do when there is none.
 */
export async function openDevice(name?: string, limits?: Limits): Promise<OpenDevice> {
	await offerSwiftShader();
	settleMesa();
	return await requestDevice(await openWebGpu(name), platform(), ADVICE, limits);
}

/**
 * Mesa's drivers keep what they compiled where we keep things: a start finds it again, whatever home it has. Its
 * llvmpipe computes in vectors of four: twice as long ones take twice as long to compile, and compute no faster.
 */
function settleMesa(): void {
	process.env.LP_NATIVE_VECTOR_WIDTH ??= "128";
	if (process.env.MESA_SHADER_CACHE_DIR) return;
	const folder = join(cacheFolder(), "mesa");
	try {
		mkdirSync(folder, { recursive: true });
		process.env.MESA_SHADER_CACHE_DIR = folder;
	} catch {
		// Then it keeps nothing, or where it is used to.
	}
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

// Deno has one instance a process, and no way to ask for an adapter by name.
const openWebGpu = async (name: string | undefined): Promise<GPU> =>
	deno ? navigator.gpu : await dawn(name === undefined ? DAWN : [...DAWN, `adapter=${name}`]);
