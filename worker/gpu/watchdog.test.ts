import { expect, test } from "vitest";
import { HungError, watched } from "./watchdog.ts";

const forever = () => new Promise<never>(() => {});
const after = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

test("what comes in time is passed on, and what does not is a hang", async () => {
	const results = (async function* () {
		yield 1;
		await after(20);
		yield 2;
		await forever();
	})();
	const came: number[] = [];
	const all = async () => {
		for await (const result of watched(results, () => 200)) came.push(result);
	};
	await expect(all()).rejects.toThrow(new HungError("the GPU gave nothing for 0.2 s"));
	expect(came).toEqual([1, 2]);
});

test("a device that hangs while whoever leaves waits for what runs ahead hangs, too", async () => {
	const results = (async function* () {
		try {
			yield 1;
		} finally {
			await forever();
		}
	})();
	const first = async () => {
		for await (const _ of watched(results, () => 50)) return "told to stop";
	};
	await expect(first()).rejects.toThrow(HungError);
});

test("waiting for something else than the device is no hang; what comes after it has all of its time", async () => {
	let waited = Number.POSITIVE_INFINITY;
	const results = (async function* () {
		await after(150);
		waited = performance.now();
		await after(30);
		yield 1;
		await forever();
	})();
	const seen = watched(
		results,
		() => 100,
		() => waited,
	);
	expect(await seen.next()).toEqual({ done: false, value: 1 });
	await expect(seen.next()).rejects.toThrow(HungError);
});
