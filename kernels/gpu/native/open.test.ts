import { expect, test } from "vitest";
import { openDevice } from "./open.ts";

test("opens an adapter, says what it is, and has all of its limits", async () => {
	const { adapter, device, facts } = await openDevice();
	expect(facts.runtime).toBe("node");
	expect(facts.name).toMatch(/via Dawn$/);
	expect(facts.driver).toMatch(/ \/ dawn \d+\.\d+\.\d+$/);
	expect(facts.name.includes("(software, on the CPU)")).toBe(facts.software);
	if (/swiftshader|llvmpipe/i.test(facts.driver)) expect(facts.software).toBe(true);
	for (const limit of ["maxBufferSize", "maxStorageBufferBindingSize", "maxStorageBuffersPerShaderStage"] as const) {
		expect(device.limits[limit]).toBe(adapter.limits[limit]);
	}
	for (const feature of ["subgroups", "shader-f16", "timestamp-query"])
		expect(device.features.has(feature)).toBe(adapter.features.has(feature));
	expect(facts.lanes).toBe(adapter.info.subgroupMinSize);
	device.destroy();
});

test("opens a second device beside the first, and another after both are gone", async () => {
	const first = await openDevice();
	const second = await openDevice();
	expect(second.device).not.toBe(first.device);
	expect(second.facts).toEqual(first.facts);
	first.device.destroy();
	expect((await first.device.lost).reason).toBe("destroyed");
	const buffer = second.device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
	await buffer.mapAsync(GPUMapMode.READ);
	second.device.destroy();
	const third = await openDevice();
	third.device.destroy();
});
