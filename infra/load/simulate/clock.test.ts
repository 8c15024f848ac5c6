import { expect, it } from "vitest";
import { VirtualClock } from "./clock.ts";

it("the process has its own time and timers back after a simulation", async () => {
	const before = Date.now();
	{
		using clock = new VirtualClock(0);
		let rang = false;
		setTimeout(() => (rang = true), 5000);
		await clock.runTo(6000);
		expect([Date.now(), rang]).toEqual([6000, true]);
	}
	expect(Date.now()).toBeGreaterThanOrEqual(before);
	const after = performance.now();
	await new Promise((resolve) => setTimeout(resolve, 5));
	expect(performance.now() - after).toBeGreaterThan(3);
});
