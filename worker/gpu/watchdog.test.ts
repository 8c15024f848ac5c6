import { expect, test } from "vitest";
import { HungError, watched } from "./watchdog.ts";

const forever = () => new Promise<never>(() => {});
const after = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
/** Gives one result, and hangs where it is left. */
async function* hangsAtItsEnd(): AsyncGenerator<number, void, undefined> {
	try {
		yield 1;
	} finally {
		await forever();
	}
}

test("what comes in time is passed on, and what does not is a hang", async () => {
	const results = (async function* () {
		yield 1;
		await after(20);
		yield 2;
		await forever();
	})();
	const came: number[] = [];
	const all = async () => {
		for await (const result of watched(results, { limit: () => 200 })) came.push(result);
	};
	await expect(all()).rejects.toThrow(new HungError("the GPU gave nothing for 0.2 s"));
	expect(came).toEqual([1, 2]);
});

test("a device that hangs while whoever leaves waits for what runs ahead hangs, too", async () => {
	const first = async () => {
		for await (const _ of watched(hangsAtItsEnd(), { limit: () => 50 })) return "told to stop";
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
	const seen = watched(results, { limit: () => 100, waited: () => waited });
	expect(await seen.next()).toEqual({ done: false, value: 1 });
	await expect(seen.next()).rejects.toThrow(HungError);
});

test("a hang is told though the loop's body threw before it; who waits without end waits for a hang", async () => {
	let hang: HungError | undefined;
	const hung = (error: HungError) => {
		hang = error;
	};
	const failing = async () => {
		for await (const _ of watched(hangsAtItsEnd(), { limit: () => 50, hung })) throw new Error("not delivered");
	};
	await expect(failing()).rejects.toThrow("not delivered");
	expect(hang?.message).toBe("the GPU gave nothing for 0.1 s");
	const never = (async function* () {
		yield await forever();
	})();
	const waiting = watched(never, { limit: () => 20, waited: () => Number.POSITIVE_INFINITY, longestWait: 60 });
	await expect(waiting.next()).rejects.toThrow(HungError);
});
