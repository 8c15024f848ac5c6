import { expect, test } from "vitest";
import { geometricMean } from "./trials.ts";

test("a picture that changes altogether does not outweigh the others", () => {
	const means = [
		[1, 1],
		[0.04, 4],
		[4, 1],
	].map(geometricMean);
	expect(means.map((mean) => Number(mean.toFixed(6)))).toEqual([1, 0.4, 2]);
	expect(geometricMean([0, 0])).toBeCloseTo(1e-6, 12);
});
