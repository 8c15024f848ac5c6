import { expect, test } from "vitest";
import { takeTurns, twoModels } from "./testing/turns.ts";

test("two hundred pictures of two models by turns, in the memory of one, leave nothing behind", async () => {
	await using two = await twoModels();
	const { bytes, different, most } = await takeTurns(two, 200);
	expect(different).toBe(0);
	for (const id of two.ids) expect(bytes[id].size, id).toBe(1);
	expect(most).toBeLessThan(two.memory + 2 ** 24);
}, 900_000);
