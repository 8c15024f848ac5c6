import { expect, it } from "vitest";
import { attack } from "../hostile.ts";

it.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])(
	"ten thousand hostile requests, a thousand each: %i",
	async (seed) => {
		expect((await attack(1000, seed))[401]).toBeGreaterThan(0);
	},
	60_000,
);
