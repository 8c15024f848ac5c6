/**
 * Browser libraries look for WebGPU on `navigator`: Deno has it there, on Node it is put there. The device layer must
 * have been opened before.
 */
export async function webGpuOnNavigator(): Promise<void> {
	if (navigator.gpu) return;
	const { create, globals } = await import("webgpu");
	Object.assign(globalThis, globals);
	Object.defineProperty(navigator, "gpu", { value: create([]), configurable: true });
}
