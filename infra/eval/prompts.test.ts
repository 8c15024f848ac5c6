import { expect, it } from "vitest";
import { besides, readPrompts, seedOf, stratified } from "./prompts.ts";

const prompts = await readPrompts();
const counts = (n: number) =>
	[...Map.groupBy(stratified(prompts, n), ({ tag }) => tag).values()].map(({ length }) => length);

it("reads all prompts in their order", () => {
	expect(prompts).toHaveLength(553);
	expect([prompts[0].prompt, prompts[552].place]).toEqual(["a photo of a bench", 552]);
});

it("draws evenly from the six categories, each prompt once, and gives the whole list when asked for it", () => {
	expect(counts(120)).toEqual([20, 20, 20, 20, 20, 20]);
	expect(counts(8)).toEqual([2, 2, 1, 1, 1, 1]);
	expect(counts(500)).toEqual([80, 85, 80, 85, 85, 85]);
	expect(new Set(stratified(prompts, 500)).size).toBe(500);
	expect(stratified(prompts, 553)).toEqual(prompts);
});

it("leaves to tune by what is not judged, of every category", () => {
	const [judged, others] = [new Set(stratified(prompts, 240)), besides(prompts, 240)];
	expect(others.filter((prompt) => judged.has(prompt))).toEqual([]);
	expect(others).toHaveLength(313);
	expect(new Set(stratified(others, 60).map(({ tag }) => tag)).size).toBe(6);
});

it("gives every picture of every prompt a seed of its own", () => {
	expect(new Set(prompts.flatMap((prompt) => [0, 1, 2].map((n) => seedOf(prompt, n)))).size).toBe(3 * 553);
});
