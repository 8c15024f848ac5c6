import { expect, it } from "vitest";
import { type Judged, pairedBootstrap, scoreOf } from "./scores.ts";

const judged = (category: string, ...right: boolean[]): Judged => ({ category, right });
/** `right` of `of` prompts of a category. */
const many = (category: string, right: number, of: number) =>
	Array.from({ length: of }, (_, i) => judged(category, i < right));

it("scores a category by its pictures and all by the mean of the categories, however many prompts each has", () => {
	expect(scoreOf([...many("a", 1, 4), ...many("b", 1, 1), judged("c", true, false)])).toEqual({
		categories: { a: 0.25, b: 1, c: 0.5 },
		overall: 1.75 / 3,
	});
});

it("finds no difference between equal results, and no uncertainty where every prompt differs alike", () => {
	const some = [...many("a", 3, 10), ...many("b", 5, 10)];
	expect(pairedBootstrap(some, some)).toEqual({ delta: 0, lower: 0, upper: 0 });
	const all = pairedBootstrap([...many("a", 10, 10), ...many("b", 5, 5)], [...many("a", 0, 10), ...many("b", 0, 5)]);
	expect(all).toEqual({ delta: 1, lower: 1, upper: 1 });
});

it("has the interval that the normal approximation gives, the same every time", () => {
	const [a, b] = [
		[...many("a", 70, 100), ...many("b", 90, 100)],
		[...many("a", 80, 100), ...many("b", 90, 100)],
	];
	const { delta, lower, upper } = pairedBootstrap(a, b);
	expect(delta).toBeCloseTo(-0.05, 9);
	// One category of 100 prompts of which ten differ by -1; half of its mean counts.
	const error = 0.5 * Math.sqrt((0.1 * 0.9) / 100);
	expect(lower).toBeCloseTo(-0.05 - 1.96 * error, 2);
	expect(upper).toBeCloseTo(-0.05 + 1.96 * error, 2);
	expect(pairedBootstrap(a, b)).toEqual({ delta, lower, upper });
});

it("keeps the seeds of a prompt together", () => {
	const four = (right: number) =>
		many("a", right, 10).map(({ category, right }) => ({ category, right: Array.from({ length: 4 }, () => right[0]) }));
	const width = ({ lower, upper }: { lower: number; upper: number }) => upper - lower;
	expect(width(pairedBootstrap(four(5), four(0)))).toBe(width(pairedBootstrap(many("a", 5, 10), many("a", 0, 10))));
});

it("refuses results of other prompts", () => {
	expect(() => pairedBootstrap(many("a", 1, 2), many("b", 1, 2))).toThrow(/same prompts/);
	expect(() => pairedBootstrap(many("a", 1, 2), many("a", 1, 3))).toThrow(/same prompts/);
});
