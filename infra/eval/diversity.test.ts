import { afterAll, beforeAll, expect, it } from "vitest";
import { distance } from "./diversity.ts";
import { Judge } from "./judge.ts";

let judge: Judge;
beforeAll(async () => {
	judge = await Judge.open();
});
afterAll(() => judge.close());

const layer = (...data: number[]) => ({ channels: 2, data: Float32Array.from(data) });

it("is the mean over places and layers of the squared difference of directions", () => {
	// Two places: (1, 0) and (0, 2) against (3, 0) and (5, 0): the same direction, and at right angles.
	const [a, b] = [layer(1, 0, 0, 2), layer(3, 5, 0, 0)];
	expect(distance([a], [b])).toBe(1);
	expect(distance([a, a], [b, a])).toBe(0.5);
	expect(distance([a], [layer(-1, 0, 0, -2)])).toBe(4);
	// Nothing is seen at a place: no direction, so nothing in common with a place that has one.
	expect(distance([layer(0, 0, 0, 2)], [a])).toBe(0.5);
});

it("is none between equal pictures, grows with the difference, of layers that the judge's network shows", async () => {
	const picture = (shift: number) => ({
		width: 128,
		height: 128,
		data: Uint8Array.from({ length: 3 * 128 * 128 }, (_, i) => ((Math.floor(i / 3) % 128) + shift < 64 ? 40 : 220)),
	});
	const [a, again, near, far] = await judge.features([picture(0), picture(0), picture(4), picture(40)]);
	expect(a.map(({ channels, data }) => [channels, data.length / channels])).toEqual([
		[40, 1024],
		[80, 256],
		[120, 64],
	]);
	expect(distance(a, again)).toBe(0);
	expect(distance(a, near)).toBeGreaterThan(0.001);
	expect(distance(a, far)).toBeGreaterThan(2 * distance(a, near));
});
