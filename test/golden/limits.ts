/** Devices smaller than any GPU: on them, too, every recorded tensor is to be within its bound. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Gpu } from "../../kernels/gpu/gpu.ts";
import { openGpu } from "../../kernels/gpu/native/open.ts";
import type { Limits } from "../../kernels/gpu/request.ts";
import { expectVerified } from "./verified.ts";

/** WebGPU's own defaults but for the binding, which is a hundredth of them, or a two thousandth. */
export const SMALL: Limits = { binding: 2 ** 20, buffer: 2 ** 28, workgroup: 2 ** 14, buffers: 8 };
export const SMALLEST: Limits = { ...SMALL, binding: 2 ** 16 };

/** The same as an option of the commands. */
export const optionOf = (limits: Limits): string =>
	Object.entries(limits)
		.map(([name, value]) => `${name}=${value}`)
		.join();

type Sets = [name: string, runs: number, model?: string][];

/** Makes a test of each set, on one such device. `model`: for those that hold no weights of their own. */
export function verifyWithin(limits: Limits, sets: Sets): void {
	describe(`by bindings of ${Number(limits.binding) / 1024} KiB`, () => {
		let gpu: Gpu;
		beforeAll(async () => {
			gpu = await openGpu(limits);
			expect(gpu.bindingBytes).toBe(limits.binding);
			expect(gpu.bufferBytes).toBe(limits.buffer);
			expect(gpu.device.limits.maxStorageBuffersPerShaderStage).toBe(limits.buffers);
			expect(gpu.device.limits.maxComputeWorkgroupStorageSize).toBe(limits.workgroup);
		});
		afterAll(() => gpu.destroy());

		it.each<Sets[number]>(sets)(
			"every recorded tensor of %s is within its bound",
			async (name, runs, model) => await expectVerified(gpu, name, runs, model),
		);
	});
}
