import { expect, test } from "vitest";
import { Ranges } from "./ranges.ts";

test("nothing fits before it has grown, then first fit", () => {
	const ranges = new Ranges();
	expect(ranges.take(0)).toBe(0);
	expect(ranges.take(1)).toBeUndefined();
	ranges.growTo(ranges.sizeFor([10]));
	expect([ranges.take(4), ranges.take(4), ranges.take(4), ranges.take(2)]).toEqual([0, 4, undefined, 8]);
});

test("neighbours given back become one range again, in any order", () => {
	for (const order of [
		[0, 1, 2],
		[2, 1, 0],
		[1, 0, 2],
		[0, 2, 1],
	]) {
		const ranges = new Ranges();
		ranges.growTo(9);
		const starts = [ranges.take(3), ranges.take(3), ranges.take(3)] as number[];
		for (const i of order) ranges.give(starts[i], 3);
		expect(ranges.take(9)).toBe(0);
	}
});

test("growing uses the free places at the end", () => {
	const ranges = new Ranges();
	ranges.growTo(8);
	ranges.take(6);
	ranges.growTo(ranges.sizeFor([5]));
	expect(ranges.size).toBe(11);
	expect(ranges.take(5)).toBe(6);
});

test("the size for several takes is the one at which they all succeed, and asking for it changes nothing", () => {
	const ranges = new Ranges();
	ranges.growTo(10);
	expect([ranges.take(3), ranges.take(4)]).toEqual([0, 3]);
	ranges.give(0, 3);
	expect([ranges.sizeFor([]), ranges.sizeFor([3, 3]), ranges.sizeFor([4]), ranges.sizeFor([2, 5, 1])]).toEqual([
		10, 10, 11, 12,
	]);
	ranges.growTo(12);
	expect([ranges.take(2), ranges.take(5), ranges.take(1)]).toEqual([0, 7, 2]);
	expect(ranges.sizeFor([1])).toBe(13);
});

test.each([1000, 40])("hundreds of takes and gives neither overlap nor cross banks of %i; all comes back", (bank) => {
	const ranges = new Ranges(bank);
	const held: [number, number][] = [];
	let state = 1;
	const random = (below: number) => (state = (state * 48271) % 2147483647) % below;
	for (let i = 0; i < 300; i++) {
		if (random(2) && held.length > 0) ranges.give(...(held.splice(random(held.length), 1)[0] as [number, number]));
		const count = 1 + random(20);
		let start = ranges.take(count);
		if (start === undefined) {
			ranges.growTo(ranges.sizeFor([count]));
			start = ranges.take(count) as number;
		}
		expect(Math.floor(start / bank)).toBe(Math.floor((start + count - 1) / bank));
		for (const [other, size] of held) expect(start + count <= other || other + size <= start).toBe(true);
		held.push([start, count]);
	}
	for (const [start, count] of held) ranges.give(start, count);
	for (let first = 0; first < ranges.size; first += bank)
		expect(ranges.take(Math.min(bank, ranges.size - first))).toBe(first);
});
