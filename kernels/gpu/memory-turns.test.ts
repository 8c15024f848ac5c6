import { expect, test } from "vitest";
import { MemoryTurns } from "./memory-turns.ts";

/** A turn that lasts until it is let go, and says when it begins. */
function turn(turns: MemoryTurns, name: string, begun: string[], signal?: AbortSignal) {
	const { promise, resolve: end, reject: fail } = Promise.withResolvers<string>();
	let tried = () => {};
	const done = turns.take((found) => {
		begun.push(name);
		tried = found;
		return promise;
	}, signal);
	done.catch(() => {});
	return { done, end: () => end(name), fail, tried: () => tried() };
}
const task = () => new Promise((resolve) => setTimeout(resolve));
const settled = async (promise: Promise<unknown>) => {
	let done = false;
	void promise.then(() => (done = true));
	await task();
	return done;
};

test("one turn after the other, whatever becomes of those before", async () => {
	const turns = new MemoryTurns();
	const begun: string[] = [];
	const [one, two, three] = ["one", "two", "three"].map((name) => turn(turns, name, begun));
	await task();
	expect(begun).toEqual(["one"]);
	one.fail(new Error("no room"));
	await expect(one.done).rejects.toThrow("no room");
	await task();
	expect(begun).toEqual(["one", "two"]);
	two.end();
	expect(await two.done).toBe("two");
	three.end();
	expect(await three.done).toBe("three");
});

test("who leaves while waiting is let go at once, and nobody's turn comes early", async () => {
	const turns = new MemoryTurns();
	const begun: string[] = [];
	const left = new AbortController();
	const one = turn(turns, "one", begun);
	const two = turn(turns, "two", begun, left.signal);
	const three = turn(turns, "three", begun);
	await task();
	left.abort(new Error("left"));
	await expect(two.done).rejects.toThrow("left");
	await expect(turns.take(() => expect.fail("begun"), left.signal)).rejects.toThrow("left");
	await task();
	expect(begun).toEqual(["one"]);
	one.end();
	await task();
	expect(begun).toEqual(["one", "three"]);
	three.end();
	await three.done;
});

test("it is quiet before a turn, after it, and from where it has found what it takes its time with", async () => {
	const turns = new MemoryTurns();
	expect(await settled(turns.quiet)).toBe(true);
	const one = turn(turns, "one", []);
	const two = turn(turns, "two", []);
	await task();
	expect(await settled(turns.quiet)).toBe(false);
	one.tried();
	expect(await settled(turns.quiet)).toBe(true);
	one.end();
	await one.done;
	await task();
	expect(await settled(turns.quiet)).toBe(false);
	two.fail(new Error("no room"));
	expect(await settled(turns.quiet)).toBe(true);
});
