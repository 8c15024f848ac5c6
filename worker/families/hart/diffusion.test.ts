import { expect, it } from "vitest";
import { diffusionSchedule } from "./diffusion.ts";

it("eight steps of a thousand, noisiest first, evenly spread", () => {
	const steps = diffusionSchedule(8);
	expect(steps.map(({ time }) => time)).toEqual([999, 856, 714, 571, 428, 285, 143, 0]);
	expect(steps.map(({ noise, times }) => [noise, times])).toEqual([
		...Array.from({ length: 7 }, () => [1, 1]),
		[0, 0.6],
	]);
	// The last step gives x0 itself, and its variance is that of the step before it.
	expect([steps[7].meanOfStart, steps[7].meanOfX]).toEqual([1, 0]);
	expect(steps[7].leastLog).toBe(steps[6].leastLog);
});

it("a thousand steps of a thousand have the cosine schedule's own betas, held below 1", () => {
	const steps = diffusionSchedule(1000).toReversed();
	const bar = (t: number) => Math.cos((((t / 1000 + 0.008) / 1.008) * Math.PI) / 2) ** 2;
	steps.forEach(({ time, mostLog }, t) => {
		expect(time).toBe(t);
		expect(Math.exp(mostLog)).toBeCloseTo(Math.min(1 - bar(t + 1) / bar(t), 0.999), 10);
	});
	// x0 and noise make x: the shares of both are those of its variance.
	for (const { ofX, ofNoise } of steps) expect((1 + ofNoise ** 2) / ofX ** 2).toBeCloseTo(1, 12);
});
