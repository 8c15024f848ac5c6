import { expect, test } from "vitest";
import { randomOf, weighted } from "./random.ts";

test("the first numbers of streams with names that are alike are no more alike than any", () => {
	const COUNT = 4000;
	for (const seed of [0, 1, 2, 77]) {
		const streams = Array.from({ length: COUNT }, (_, i) => randomOf(seed, `request ${i}`));
		for (let draw = 0; draw < 3; draw++) {
			const bins = new Array<number>(20).fill(0);
			const values = streams.map((random) => random());
			for (const value of values) bins[Math.floor(20 * value)]++;
			// Chi-square with 19 degrees of freedom: 43.8 is passed once in a thousand.
			const even = COUNT / bins.length;
			expect(bins.reduce((sum, count) => sum + (count - even) ** 2 / even, 0)).toBeLessThan(43.8);
			const mean = values.reduce((sum, value) => sum + value, 0) / COUNT;
			const spread = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
			for (const lag of [1, 2, 4, 8, 10]) {
				const together = values.slice(lag).reduce((sum, value, i) => sum + (value - mean) * (values[i] - mean), 0);
				expect(Math.abs(together / spread)).toBeLessThan(4 / Math.sqrt(COUNT));
			}
		}
	}
});

test("a share of a mix is that of a coin, whatever the seed", () => {
	const [REQUESTS, SEEDS] = [120, 200];
	const of = [
		{ name: "a", weight: 1 },
		{ name: "b", weight: 9 },
	];
	const shares = Array.from({ length: SEEDS }, (_, seed) => {
		const names = Array.from({ length: REQUESTS }, (_, i) => weighted(randomOf(seed, `request ${i}`), of).name);
		return names.filter((name) => name === "a").length / REQUESTS;
	});
	const mean = shares.reduce((sum, share) => sum + share, 0) / SEEDS;
	const deviation = Math.sqrt(shares.reduce((sum, share) => sum + (share - mean) ** 2, 0) / SEEDS);
	expect(Math.abs(mean - 0.1)).toBeLessThan(0.01);
	expect(deviation / Math.sqrt((0.1 * 0.9) / REQUESTS)).toBeGreaterThan(0.8);
	expect(deviation / Math.sqrt((0.1 * 0.9) / REQUESTS)).toBeLessThan(1.2);
});
