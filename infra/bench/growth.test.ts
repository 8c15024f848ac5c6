import { expect, test } from "vitest";
import { sharedGpu } from "../../kernels/gpu/native/testing.ts";
import { benchGrowth } from "./growth.ts";
import { growthChart } from "./growth-chart.ts";
import { growthText } from "./tables.ts";

test("every size is measured, memory by what the device holds, and drawn beside linear growth", async () => {
	const gpu = await sharedGpu();
	const bytes = gpu.bytes;
	const report = await benchGrowth(gpu, { sides: [1, 4], pictures: [1, 2], prompts: [4, 64] });
	expect(gpu.bytes).toBe(bytes);
	expect(report.growths.map(({ of, points }) => [of, ...points.map(({ size }) => size)])).toEqual([
		["tokens of a picture", 1, 21],
		["pictures together", 1, 2],
		["tokens of the prompt", 4, 64],
	]);
	for (const { points } of report.growths) {
		for (const { milliseconds } of points) expect(milliseconds).toBeGreaterThan(0);
		expect(points[1].bytes).toBeGreaterThan(points[0].bytes);
	}
	// Keys and values of 60 more tokens for both guidance rows, in both blocks.
	const [, , { points: prompts }] = report.growths;
	expect(prompts[1].bytes - prompts[0].bytes).toBeGreaterThanOrEqual(60 * 2 * 2 * 64 * 4 * 2);
	expect(growthText(report)).toMatch(/tokens of the prompt .*\n.*\n +4 /);
	const svg = await growthChart(report);
	for (const { of } of report.growths) expect(svg).toContain(of);
	for (const name of ["time", "memory", "linear"]) expect(svg).toContain(`>${name}<`);
});
