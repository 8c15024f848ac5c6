import { expect, it } from "vitest";
import { budgetRows, memoryText } from "./memory.ts";

const rows = budgetRows();

it("Infinity-2B with Flan-T5 keeps within the goals: 8 GiB in f16, 5 in int8, 3.5 in int4", () => {
	expect(rows.map(({ precision, policy }) => `${precision} ${policy}`)).toEqual(
		["f16", "int8", "int4"].flatMap((precision) => [`${precision} exact`, `${precision} stagevar`]),
	);
	for (const { memory, need, within, policy } of rows) {
		expect(need.total).toBeLessThan(memory);
		expect(need.total).toBe(Math.max(need.phases.text, need.phases.picture));
		// What is taken is not given up: a step back would not have done.
		if (policy === "exact") expect(need.total).toBeGreaterThan(0.9 * memory);
		expect(within.encoder).toBe("visits");
	}
	expect(rows.filter(({ policy }) => policy === "exact").map(({ within }) => within.cacheDtype)).toEqual([
		"f16",
		"int8",
		"int4",
	]);
});

it("what a further picture takes follows the bits of its keys", () => {
	const [f16, int8, int4] = rows.filter(({ policy }) => policy === "exact").map(({ further }) => further);
	const most = 2 * 32 * (10521 - 4096 + 24) * 2 * 2048;
	expect(f16 - int8).toBe(most * 2 - (most * 8.5) / 8);
	expect(int8 - int4).toBe((most * 4) / 8);
	expect(memoryText([], rows)).toMatch(/\| Infinity-2B \| exact \| int4 \| 3.50 \| int4 \| visits \| /);
});
