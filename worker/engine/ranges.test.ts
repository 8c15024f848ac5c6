import { expect, test } from "vitest";
import { Ranges } from "./ranges.ts";

test("nothing fits before it has grown, then first fit", () => {
	const ranges = new Ranges();
	expect(ranges.take(1)).toBeUndefined();
	ranges.growFor(10);
	expect([ranges.take(4), ranges.take(4), ranges.take(4), ranges.take(2)]).toEqual([0, 4, undefined, 8]);
});

test("neighbours given back become one range again, in any order", () => {
	for (const order of [[0, 1, 2], [2, 1, 0], [1, 0, 2], [0, 2, 1]]) {
		const ranges = new Ranges();
		ranges.growFor(9);
		const starts = [ranges.take(3), ranges.take(3), ranges.take(3)] as number[];
		for (const i of order) ranges.give(starts[i], 3);
		expect(ranges.take(9)).toBe(0);
	}
});

test("starts are aligned and what lies before them stays free", () => {
	const ranges = new Ranges();
	ranges.growFor(16);
	expect(ranges.take(1)).toBe(0);
	expect(ranges.take(8, 4)).toBe(4);
	expect(ranges.take(3)).toBe(1);
});

test("growing uses the free places at the end", () => {
	const ranges = new Ranges();
	ranges.growFor(8);
	ranges.take(6);
	ranges.growFor(5, 4);
	expect(ranges.size).toBe(13);
	expect(ranges.take(5, 4)).toBe(8);
});

test("a thousand random takes and gives never overlap, and all comes back", () => {
	const ranges = new Ranges();
	const held: [number, number][] = [];
	let state = 1;
	const random = (below: number) => (state = (state * 48271) % 2147483647) % below;
	for (let i = 0; i < 1000; i++) {
		if (random(2) && held.length > 0) ranges.give(...(held.splice(random(held.length), 1)[0] as [number, number]));
		const count = 1 + random(20);
		let start = ranges.take(count, 4);
		if (start === undefined) {
			ranges.growFor(count, 4);
			start = ranges.take(count, 4) as number;
		}
		expect(start % 4).toBe(0);
		for (const [other, size] of held) expect(start + count <= other || other + size <= start).toBe(true);
		held.push([start, count]);
	}
	for (const [start, count] of held) ranges.give(start, count);
	expect(ranges.take(ranges.size)).toBe(0);
});
